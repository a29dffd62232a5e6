"""The result of scoring: rows and their summary, written and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from relay.errors import plain, some
from relay.files import write_text
from relay.numbers import bounds, number
from relay.results import no_nan, write_rows
from relay.screen import Column, show_place, show_table, show_text

"""Names of samples without a prediction that are shown; all are in the file."""


@dataclass(frozen=True)
class Score:
    """What was measured.

    Attributes:
        rows: tidy ones (:data:`relay.results.COLUMNS`), without leg and strategy.
        summary: of the rows; its ``rows`` each have a ``class`` and a ``metric``, and ``value`` or
            the result of :func:`relay.statistics.describe`.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    def write(self, out: Path) -> None:
        """Write ``samples.csv`` and ``score.json``."""
        write_rows(out / "samples.csv", self.rows)
        write_text(out / "score.json", json.dumps(no_nan(self.summary), indent=1) + "\n")


def row(study: str, patient: str, sample: str, name: str, metric: str, value: float) -> dict[str, Any]:
    """A tidy row for predictions that are not from a leg of a study."""
    about = {"study": study, "strategy": "", "leg": None, "trained": "", "model": "", "site": ""}
    return {**about, "patient": patient, "sample": sample, "class": name, "metric": metric, "value": value}


def show(console: Console, score: Score, out: Path) -> None:
    """Show one table, its explanation, and where all the numbers are."""
    summary = score.summary
    rows, whole = summary["rows"], "value" in summary["rows"][0]
    columns = [Column("class", left=True), Column("metric", left=True), Column("value" if whole else "mean")]
    columns += [] if whole else [Column("95 % interval", 1), Column("measured", 2)]
    cells = [[line["class"], line["metric"], *_cells(line, whole)] for line in rows]
    if not any(line["class"] for line in rows):  # regression has none
        columns, cells = columns[1:], [line[1:] for line in cells]
    title = f"{summary['study']}: {summary['samples']} samples of {summary['patients']} patients"
    show_table(console, title, columns, cells)
    if missing := summary.get("missing"):
        total = len(missing) + summary["samples"]
        show_text(console, f"Not scored: {len(missing)} of {total} have no prediction: {plain(some(missing))}.")
    show_text(console, sentence(summary))
    for name, what in (("samples.csv", "Each sample"), ("score.json", "All measurements, and how they were made")):
        show_place(console, what, out / name)


def _cells(line: Mapping[str, Any], whole: bool) -> list[str]:
    if whole:
        return [number(line["value"])]
    return [number(line["mean"]), bounds(line["low"], line["high"]), f"{line['measured']} of {line['samples']}"]


def sentence(summary: Mapping[str, Any]) -> str:
    """For masks, the Dice over all classes and the units; for tables, what a dash means."""
    if "mean" not in summary:
        return f"A dash: {summary['rule']}."
    value, unit = summary["mean"]["dice"], summary["unit"]
    said = f"Mean Dice over classes but {summary['classes'][0]}: {number(value)}."
    if math.isnan(value):
        said = "No Dice could be measured."
    distances = [name for name, about in summary["metrics"].items() if about["in_unit"]]
    units = f"{' and '.join(distances)} in {unit}; nsd within {summary['tolerance']:g} {unit}."
    return f"{said} {units} A dash: {summary['rule']}."
