"""``relay data``: tables of images, and what is in them, before there is a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, cache, options
from relay.cli.top import command, warn
from relay.errors import UserError

if TYPE_CHECKING:
    from relay.data import Sheet

data_app = typer.Typer(help="Tables of images; check and show a study's data.", no_args_is_help=True, **options.PLAIN)
data_app.add_typer(cache.cache_app, name="cache")
Out = Annotated[
    Path, typer.Option("-o", "--out", help="File to write: .csv, .tsv, or .yml for ECVL's form.", metavar="FILE")
]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the file if it exists.")]
CLASS = ("ValueToPredict",)
"""Columns that split stratifies by if none is named."""
MOST = 50
"""With more different values than this, a column holds no classes."""


@data_app.command()
@command
def table(
    folder: Annotated[Path, typer.Argument(help="The folder with the images.")],
    out: Out,
    images: Annotated[str | None, typer.Option("--images", help="Folder of the images in it.", metavar="NAME")] = None,
    masks: Annotated[str | None, typer.Option("--masks", help="Folder of the masks in it.", metavar="NAME")] = None,
    channels: Annotated[
        str | None,
        typer.Option("--channels", help="What the names of an image's files end in: t1,flair.", metavar="A,B"),
    ] = None,
    patients: Annotated[
        str | None, typer.Option("--patients", help="Regular expression that finds the patient in an image's name.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Write a table of the images in a folder, for the data set table, a spreadsheet or GaNDLF.

    Recognised are images and masks in two folders, a folder for each class, and data sets of nnU-Net. No image is
    opened.
    """
    from relay.start import columns_of, find_images, write_sheet

    _check_pattern(patients)
    layout, found = find_images(folder, images, masks, ask.listed(channels) or (), patients)
    write_sheet(out, columns_of(found, out.parent), replace=replace)
    who = {each.patient for each in found}
    ask.say(f"{out}: {_count(found, 'image')} of {_count(who, 'patient')}{_said(layout)}")
    if patients is None and len(found) > 1 and layout != "nnunet":
        ask.say("Every image counts as a patient. If a patient has several, say how to tell: --patients REGEX")


def _count(things: object, what: str) -> str:
    many = len(things)  # type: ignore[arg-type]
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _said(layout: str) -> str:
    return {
        "pairs": ", with masks",
        "classes": ", with classes by folder",
        "nnunet": ", from a data set of nnU-Net",
    }.get(layout, ", without targets: add the column Label (masks) or ValueToPredict (classes, numbers)")


def _check_pattern(pattern: str | None) -> None:
    import re

    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(
            f"--patients {pattern}: not a regular expression: {error}", "For example: '^(p\\d+)_'"
        ) from None


@data_app.command()
@command
def split(
    table: Annotated[Path, typer.Argument(help="A table of images, as relay data table writes.")],
    out: Out,
    shares: Annotated[
        str, typer.Option("--shares", help="Shares of the patients for train, val and test.", metavar="A:B:C")
    ] = "60:20:20",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same split.", min=0)] = 0,
    patient: Annotated[str, typer.Option("--patient", help="The column of patients.", metavar="COLUMN")] = "SubjectID",
    by_class: Annotated[
        str | None,
        typer.Option(
            "--class", help="The column of classes. Default: ValueToPredict if it has classes.", metavar="COLUMN"
        ),
    ] = None,
    replace: Replace = False,
) -> None:
    """Deal a table's rows into train, val and test, in a column called split: by patient, and class by class.

    Patients whose names differ only in case, width, dashes or leading zeros stay together.
    """
    from relay.data import read_sheet
    from relay.start import deal, shares_of, write_sheet

    wanted = shares_of(shares)
    if out.resolve().parent != table.resolve().parent:
        raise UserError(
            f"{out} is in another folder than {table}, but a table names files from where it is",
            f"Write it beside the table: -o {table.with_name(out.name)}",
        )
    sheet = read_sheet(table, [patient, *([by_class] if by_class else [])], "Name a table that exists.")
    sheet.need([patient], "Name it with --patient")
    if not sheet.rows:
        raise UserError(f"{table} has no rows", "Add images to it.")
    if "split" in sheet.header and out.resolve() != table.resolve():
        warn(f"{table} has a column split, which is dealt anew in {out}")
    column = _class_column(sheet, by_class)
    classes = [row[column] if column else "" for row in sheet.rows]
    _check_patients(sheet, patient)
    dealt = deal([row[patient] for row in sheet.rows], classes, wanted, seed)
    rows = [{**row.cells, "split": part} for row, part in zip(sheet.rows, dealt, strict=True)]
    write_sheet(out, rows, sheet.mark, replace)
    counts = {part: sum(each == part for each in dealt) for part in wanted}
    people = {
        part: {row[patient] for row, each in zip(sheet.rows, dealt, strict=True) if each == part} for part in wanted
    }
    ask.say(
        f"{out}: "
        + ", ".join(f"{part} {count} of {_count(people[part], 'patient')}" for part, count in counts.items())
        + (f"; stratified by {column}" if column else "")
    )


def _class_column(sheet: Sheet, named: str | None) -> str | None:
    """The column to stratify by: the one that is named, else that of classes if it holds some."""
    if named is not None:
        sheet.need([named], "Name it with --class")
        return named
    found = next((column for column in CLASS if column in sheet.header), None)
    return found if found and len({row[found] for row in sheet.rows}) <= MOST else None


def _check_patients(sheet: Sheet, patient: str) -> None:
    from relay.data import is_missing, refuse

    refuse(
        [f"line {row.line}: {patient} is {row[patient]!r}" for row in sheet.rows if is_missing(row[patient])],
        f"{sheet.path}: rows without a patient",
        "Give every row a patient, or remove it.",
    )
