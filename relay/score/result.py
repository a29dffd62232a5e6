"""What a scoring found: rows and their summary, written and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.errors import plain
from relay.files import write_text
from relay.results import no_nan, write_rows

SHOWN = ("mean", "low", "high", "sd")
"""Median and lowest are in the file."""
NUMBERS = ("measured", "samples")
MISSING = "–"
SOME = 5
"""Names of samples without a prediction that are shown; all are in the file."""


@dataclass(frozen=True)
class Score:
    """What was measured.

    Attributes:
        rows: tidy ones (:data:`relay.results.COLUMNS`), without leg and strategy.
        summary: what they add up to; its ``rows`` have a ``class`` and a ``metric`` each, and ``value`` or
            what :func:`relay.statistics.describe` says.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    def write(self, out: Path) -> None:
        """``samples.csv`` and ``score.json``."""
        write_rows(out / "samples.csv", self.rows)
        write_text(out / "score.json", json.dumps(no_nan(self.summary), indent=1) + "\n")


def row(study: str, patient: str, sample: str, name: str, metric: str, value: float) -> dict[str, Any]:
    """A tidy row of predictions that no leg of a study made."""
    about = {"study": study, "strategy": "", "leg": None, "trained": "", "site": ""}
    return {**about, "patient": patient, "sample": sample, "class": name, "metric": metric, "value": value}


def show(console: Console, score: Score, out: Path) -> None:
    """The table, what it means, and where it was written."""
    summary = score.summary
    _table(console, f"{summary['study']}: {summary['samples']} samples", summary["rows"])
    if summary.get("subjects"):
        _table(console, f"{summary['study']}: {summary['patients']} patients, all voxels of each", summary["subjects"])
    if missing := summary.get("missing"):
        named = ", ".join(missing[:SOME]) + (f" and {len(missing) - SOME} more" if len(missing) > SOME else "")
        console.print(
            f"[bold yellow]Not scored:[/] {len(missing)} of {len(missing) + summary['samples']} have no prediction: "
            f"{escape(plain(named))}. The numbers are about the others.",
            highlight=False,
            soft_wrap=True,
        )
    notes = []
    if "mean" in summary:
        means = ", ".join(f"{metric} {_number(value)}" for metric, value in summary["mean"].items())
        notes.append(f"Mean over classes but background: {means}")
    if "unit" in summary:
        notes.append(f"hd95 and asd in {summary['unit']}; nsd within {summary['tolerance']:g} {summary['unit']}")
    notes.append(f"Missing ({MISSING}): {summary['rule']}")
    if "interval" in summary:
        notes.append(f"low, high: {summary['interval']}")
    for note in notes:
        console.print(f"{note}.", highlight=False, soft_wrap=True)
    console.print(f"Written: {escape(str(out))}/samples.csv, score.json", highlight=False, soft_wrap=True)


def _table(console: Console, title: str, rows: list[Mapping[str, Any]]) -> None:
    columns = [name for name in (*SHOWN, *NUMBERS, "value") if name in rows[0]]
    table = Table(title=escape(title))
    for name in ("class", "metric"):
        table.add_column(name, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    for line in rows:
        cells = [str(line[name]) if name in NUMBERS else _number(line[name]) for name in columns]
        table.add_row(escape(line["class"]), line["metric"], *cells)
    console.print(table)


def _number(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3f}"
