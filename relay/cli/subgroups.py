"""Does the model serve all patients alike? ``relay subgroups``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, configs, options
from relay.cli.predict import Which
from relay.cli.top import command, warn
from relay.errors import UserError
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
    from relay.subgroups import compare, divide, read_samples, sentence, write_page

    folder = root / "results" / model.value if model else root / "results"
    scored = read_samples(folder / "samples.csv")
    samples, main = scored.samples, scored.main
    groups = []
    for column in named:
        values = _values(study, samples, column, expanded(table) if table else None, patient)
        groups.append(divide(column, values, cuts.get(column, ())))
        if groups[-1].unknown:
            warn(f"{groups[-1].unknown} of {len(samples)} test images have no {column}, and are in no group")
    found = compare(scored, groups, least, study.legs[0].conf.random_seed)
    what = f"the {model.value} model" if model else "the last leg's generalist"
    for path in write_page(found, main, what, least, folder):
        ask.say(f"Written: {path}")
    ask.say(sentence(found, main))


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
        from relay.data import read_sheet

        sheet = read_sheet(table, [patient, column], "Name a table that exists.")
        sheet.need([patient], "Name the column of patients with --patient")
        sheet.need([column], "Name columns of the table with --by")
        of: dict[str, str] = {}
        for row in sheet.rows:
            if of.setdefault(row[patient], row[column]) != row[column]:
                raise UserError(
                    f"{table}, line {row.line}: {row[patient]} has {column} {row[column]!r}, but "
                    f"{of[row[patient]]!r} in an earlier line",
                    "Correct one of the two rows.",
                )
        return {key: of.get(sample.patient[1], "") for key, sample in samples.items()}
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
