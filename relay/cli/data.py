"""``relay data``: tables of images, and what is in them, before there is a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, cache, configs, options
from relay.cli.top import command, warn
from relay.errors import UserError, some, typed

if TYPE_CHECKING:
    from rich.progress import TaskID

    from relay.data import Doubt, Sheet
    from relay.plan import Leg
    from relay.start import Found
    from relay.survey import Checked

data_app = typer.Typer(help="Tables of images; check and show a study's data.", no_args_is_help=True, **options.PLAIN)
data_app.add_typer(cache.cache_app, name="cache")
Out = Annotated[
    Path, typer.Option("-o", "--out", help="File to write: .csv, .tsv, or .yml for ECVL's form.", metavar="FILE")
]
Config = Annotated[str, typer.Argument(help="Name under configs/, or a .yaml file.", metavar="CONFIG")]
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

    options.pattern("--patients", patients)
    layout, found = find_images(folder, images, masks, ask.listed(channels) or (), patients)
    write_sheet(out, columns_of(found, out.parent), replace=replace)
    who = {each.patient for each in found}
    ask.say(f"{out}: {_count(found, 'image')} of {_count(who, 'patient')}{_said(layout, found)}")
    if patients is None and len(found) > 1 and layout != "nnunet":
        folders = ", such as '^([^/]+)/' if each has a folder" if any("/" in each.name for each in found) else ""
        ask.say(
            f"Every image counts as a patient. If a patient has several, say how to tell: --patients REGEX{folders}"
        )


def _count(things: object, what: str) -> str:
    many = len(things)  # type: ignore[arg-type]
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _said(layout: str, found: Sequence[Found]) -> str:
    return {
        "pairs": ", with masks",
        "classes": f", with the folders as classes: {some(sorted({str(each.target) for each in found}))}",
        "nnunet": ", from a data set of nnU-Net",
    }.get(layout, ", without targets: add the column Label (masks) or ValueToPredict (classes, numbers)")


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
            f"Write it beside the table: -o {table.parent / (out.name or 'split.csv')}",
        )
    sheet = read_sheet(table, [patient, *([by_class] if by_class else [])], "Name a table that exists.")
    sheet.need([patient, *sheet.header], "Name it with --patient")
    if not sheet.rows:
        raise UserError(f"{table} has no rows", "Add images to it.")
    if "split" in sheet.header and out.resolve() != table.resolve():
        warn(f"{table} has a column split, which is dealt anew in {out}")
    column = _class_column(sheet, by_class)
    classes = [row[column] if column else "" for row in sheet.rows]
    _check_patients(sheet, patient)
    dealt = deal([row[patient] for row in sheet.rows], classes, wanted, seed)
    rows = [{**row.stored, "split": part} for row, part in zip(sheet.rows, dealt, strict=True)]
    write_sheet(out, rows, sheet.mark, replace)
    told = []
    for part in wanted:
        there = [row[patient] for row, each in zip(sheet.rows, dealt, strict=True) if each == part]
        told.append(f"{part} {_count(there, 'image')} of {_count(set(there), 'patient')}")
    ask.say(f"{out}: {', '.join(told)}" + (f"; stratified by {column}" if column else ""))


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


@data_app.command()
@command
def check(config: Config, overrides: options.Overrides = None) -> None:
    """Read every image of a config once, try the net on one, and name all that is wrong, and all that is suspicious.

    Checked are the sites whose images are on this computer. Nothing is written.
    """
    bad = 0
    for checked in _checked(config, overrides):
        ask.say(f"{checked.name}: {_dealt(checked)}")
        ask.say(*(f"  problem: {text}" for text in checked.problems))
        ask.say(*(f"  what to do: {cure}" for cure in checked.cures))
        ask.say(*(f"  warning: {doubt.text}{_names(doubt)}" for doubt in checked.doubts))
        bad += len(checked.problems)
    if bad:
        raise UserError(f"{bad} problems, listed above" if bad > 1 else "1 problem, named above", "See above.")


@data_app.command("report")
@command
def report_(
    config: Config,
    to: Annotated[
        Path | None,
        typer.Option("-o", "--to", help="Folder for the pages. Default: exps/<config>/data.", metavar="FOLDER"),
    ] = None,
    overrides: options.Overrides = None,
) -> None:
    """Write a page for each site whose images are here: counts, sizes, intensities, similar images, a contact sheet.

    A page shows images of patients. It is for the site, and must not leave it.
    """
    from relay.survey import look_at, write_page

    wrong = []
    folder = to or Path("exps") / configs.find(config, overrides, say=False).name / "data"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, but the pages need a folder", "Name another: -o FOLDER.")
    for checked in _checked(config, overrides):
        if checked.site is None:
            wrong.append(f"  - {checked.name}: {len(checked.problems)}, the first: {checked.problems[0]}")
            continue
        page = write_page(look_at(checked.site), checked.doubts, folder)
        ask.say(f"{page}: {_dealt(checked)}")
    if wrong:
        raise UserError(
            "sites whose images can't be used, by number of problems:\n" + "\n".join(wrong),
            f"See all of them: {typed('relay', 'data', 'check', config, *(overrides or []))}",
        )


def _checked(config: str, overrides: list[str] | None) -> Iterator[Checked]:
    """The sites of a config whose images are here, checked one after the other, with a bar that shows how far it is."""
    from tempfile import TemporaryDirectory

    from rich.console import Console
    from rich.progress import Progress

    from relay.survey import check_site

    study = configs.find(config, overrides).plan(train=False)
    trained = {dataset.options.task_id: leg for leg in study.legs for dataset in leg.pool}
    here = study.test_sets
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    with TemporaryDirectory(prefix="relay-") as spool, bar:
        for dataset in here:
            options_ = dataset.options
            task = bar.add_task(options_.task_name, total=None)

            def expect(total: int, task: TaskID = task) -> Callable[[], None]:
                bar.update(task, total=total)
                return lambda: bar.advance(task)

            seed = study.legs[0].conf.random_seed
            outside = study.handoff is not None and options_.split == "test"  # a hospital that only tests
            leg = None if outside else trained.get(options_.task_id)
            found = check_site(dataset, seed, leg is not None, Path(spool), expect)
            yield _with_net(found, leg) if leg and found.site else found
    if absent := [d.options.task_name for d in study.datasets.values() if d not in here]:
        warn(f"not on this computer, so not read: {', '.join(absent)}")


def _with_net(checked: Checked, leg: Leg) -> Checked:
    """Also what would end training before its first step."""
    from relay.leg import check_net

    assert checked.site is not None
    try:
        check_net(leg, checked.site)
    except UserError as error:
        return replace(checked, problems=(str(error),), cures=(error.advice(),))
    return checked


def _dealt(checked: Checked) -> str:
    """``41 images of 33 patients: train 20, val 13, test 8``."""
    if checked.site is None:
        return checked.what or "can't be used"
    split = checked.site.split
    records = [*split.train, *split.val, *split.test]
    parts = ", ".join(f"{part} {len(found)}" for part in ("train", "val", "test") if (found := split[part]))
    return f"{_count(records, 'image')} of {_count({r.patient for r in records}, 'patient')}: {parts}"


def _names(doubt: Doubt) -> str:
    return f" ({', '.join(doubt.names)})" if doubt.names else ""
