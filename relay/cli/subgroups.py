"""Does the model serve all patients alike? ``relay subgroups``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, configs, options
from relay.cli.predict import Which
from relay.cli.top import command, warn
from relay.errors import UserError, some
from relay.files import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.plan import Study
    from relay.subgroups import Sample


@command
def subgroups(
    config: options.RunConfig,
    by: Annotated[str, typer.Option("--by", help="Columns, comma-separated; site is always there.", metavar="A,B")],
    bands: Annotated[
        list[str] | None,
        typer.Option(
            "--bands",
            help="Divide a column of numbers at these places. Default: at its quartiles. Repeatable.",
            metavar="COLUMN=40,60",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table", help="A table with the columns, by patient. Default: the data set's own.", metavar="FILE"
        ),
    ] = None,
    patient: Annotated[
        str, typer.Option("--patient", help="The column of patients in --table.", metavar="COLUMN")
    ] = "patient",
    least: Annotated[int, typer.Option("--least", help="Don't show groups with fewer patients than this.", min=1)] = 5,
    model: Annotated[
        Which | None,
        typer.Option("--model", help="What predict_test.py --model has tested. Default: the last leg's generalist."),
    ] = None,
    note: options.Note = "run",
    overrides: options.Overrides = None,
) -> None:
    """Compare the scores of groups of patients: by sex, age, scanner, or any other column.

    Run predict_test.py first. The page and the table stay at this site.
    """
    named = list(dict.fromkeys(ask.listed(by) or ()))
    if not named:
        raise UserError("--by names no column", "Name one: --by sex")
    cuts = _cuts(bands or (), named)
    study, root, _ = configs.study_of(config, note, None, overrides, train=False)
    from relay.predict import results_at
    from relay.results import GENERALIST
    from relay.subgroups import compare, divide, read_samples, sentence, write_page

    which = model.value if model else GENERALIST
    folder = results_at(root, which)
    scored = read_samples(folder / "samples.csv", GENERALIST if which == GENERALIST else None, _again(which))
    samples, main = scored.samples, scored.main
    patients = {key: sample.patient[1] for key, sample in samples.items()}
    groups = []
    for column in named:
        values = _values(study, samples, column, expanded(table) if table else None, patient)
        groups.append(divide(column, values, cuts.get(column, ()), patients))
        if groups[-1].unknown:
            warn(f"{groups[-1].unknown} of {len(samples)} test images have no {column}, and are in no group")
    found = compare(scored, groups, least, study.legs[0].conf.random_seed)
    what = "the last leg's generalist" if which == GENERALIST else f"the {which} model"
    for path in write_page(found, main, what, least, folder):
        ask.say(f"Written: {path}")
    ask.say(sentence(found, main))


def _again(which: str) -> str:
    """Advice for scores that are not there."""
    option = "" if which == "generalist" else f" with --model {which}"
    return f"Run predict_test.py{option} first: it measures every image."


def _cuts(bands: list[str] | tuple[str, ...], named: list[str]) -> dict[str, list[float]]:
    """Column → where it is divided.

    Raises:
        UserError: one can't be read, or names a column that is not compared.
    """
    found = {}
    for text in bands:
        column, _, places = text.partition("=")
        try:
            numbers = [float(place) for place in places.split(",")]
        except ValueError:
            numbers = []
        if not numbers or numbers != sorted(set(numbers)):
            raise UserError(f"--bands {text}: not a column and rising numbers", "Write it like --bands age=40,60")
        if column not in named:
            raise UserError(
                f"--bands {text}: {column} is not in --by", f"Compare it: --by {','.join([*named, column])}"
            )
        found[column] = numbers
    return found


def _values(
    study: Study, samples: Mapping[tuple[str, str], Sample], column: str, table: Path | None, patient: str
) -> dict[tuple[str, str], str]:
    """Each test image's value in a column; empty where it is not known.

    Raises:
        UserError: nobody has this column.
    """
    if column == "site":
        return {key: key[0] for key in samples}
    if table is not None:
        from relay.data import alike, read_sheet

        sheet = read_sheet(table, [patient, column], "Name a table that exists.")
        sheet.need([patient], "Name the column of patients with --patient")
        sheet.need([column], "Name columns of the table with --by")
        of: dict[str, str] = {}
        for row in sheet.rows:
            if (said := of.setdefault(alike(row[patient]), row[column])) != row[column]:
                raise UserError(
                    f"{table}, line {row.line}: {row[patient]} has {column} {row[column]!r}, but {said!r} in an "
                    "earlier line",
                    "Correct one of the two rows.",
                )
        asked = {sample.patient[1] for sample in samples.values()}
        if not any(alike(name) in of for name in asked):
            raise UserError(
                f"{table}: none of the {len(asked)} test patients ({some(sorted(asked), 3)}) is in its column "
                f"{patient}, which has {some([row[patient] for row in sheet.rows], 3)}",
                "Name the column of patients with --patient, or give the table of these patients.",
            )
        return {key: of.get(alike(sample.patient[1]), "") for key, sample in samples.items()}
    sites = {site for site, _ in samples}
    records = {
        (data.options.task_name, record.id): record.columns
        for data in study.test_sets
        if data.options.task_name in sites
        for record in data.listing
    }
    there = sorted({name for columns in records.values() for name in columns})
    if column not in there:
        advice = f"The data sets have: {', '.join(there)}." if there else "The data sets have no columns."
        raise UserError(
            f"--by {column}: no data set has this column", f"{advice} Or give a table of patients: --table FILE"
        )
    return {key: records.get(key, {}).get(column, "") for key in samples}
