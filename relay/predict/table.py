"""What was measured, on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.results import mean

MISSING = "–"
TITLES = {"sensitivity": "sens.", "specificity": "spec.", "hd95": "HD95", "asd": "ASD", "nsd": "NSD"}
Row = Mapping[str, Any]


def show(console: Console, found: Mapping[str, Any], folder: Path) -> None:
    """Dice of each model on each test set by class, with intervals; the other metrics as means over the classes.

    The background is left out here; it is in the files.
    """
    console.print(_dice(found))
    console.print(_others(found))
    console.print(f"{found['rule'][:1].upper()}{found['rule'][1:]}.", highlight=False)
    lost = sum(row["samples"] - row["measured"] for row in found["rows"] if row["class"] in found["classes"][1:])
    console.print(f"Missing: {lost} values. NSD within {found['tolerance']:g} {_units(found)}.", highlight=False)
    seconds = found["seconds"]
    share = seconds["metrics"] / seconds["inference"] if seconds["inference"] else 0.0
    console.print(
        f"For each second of predicting, reading and calibration, {share:.2f} s of waiting for metrics.",
        highlight=False,
    )
    console.print(f"Written to: {escape(str(folder))}/", highlight=False, soft_wrap=True)
    for name, what in WRITTEN.items():
        if (folder / name).exists():
            console.print(f"  {name}  {what}", highlight=False, soft_wrap=True)


def _dice(found: Mapping[str, Any]) -> Table:
    table = Table(title=f"{escape(found['study'])}: Dice, mean over samples (95 % interval)")
    for name in ("model", "test set", "n", *found["classes"][1:], "mean"):
        table.add_column(escape(name), justify="left" if name in ("model", "test set") else "right")
    for cell in found["calibration"]:
        rows = {row["class"]: row for row in found["rows"] if _cell(row) == _cell(cell) and row["metric"] == "dice"}
        dice = [_with_interval(rows[name]) for name in found["classes"][1:]]
        average = _number(_mean(list(rows.values()), "dice", found["classes"][1:]))
        table.add_row(*_names(cell), str(next(iter(rows.values()))["samples"]), *dice, average)
    return table


def _others(found: Mapping[str, Any]) -> Table:
    table = Table(title="Other metrics, means over samples and classes")
    for name in ("model", "test set", *TITLES.values(), "ECE"):
        table.add_column(name, justify="left" if name in ("model", "test set") else "right")
    for cell in found["calibration"]:
        here = [row for row in found["rows"] if _cell(row) == _cell(cell)]
        values = {metric: _number(_mean(here, metric, found["classes"][1:])) for metric in TITLES}
        for metric in ("hd95", "asd"):
            values[metric] += "" if values[metric] == MISSING else f" {found['unit'][cell['site']]}"
        table.add_row(*_names(cell), *values.values(), _number(cell["ece"]))
    return table


def _names(cell: Row) -> tuple[str, str]:
    return escape(cell["checkpoint"]), escape(cell["site"])


WRITTEN = {
    "samples.csv": "every metric of each sample, class and patient",
    "evaluation.json": "means, intervals, calibration",
    "predictions": "masks, in the images' own geometry",
    "overlays": "images with what was predicted, what is true, and where they differ",
}


def _cell(row: Row) -> tuple[Any, ...]:
    return row["checkpoint"], row["site"]


def _mean(rows: Sequence[Row], metric: str, classes: Sequence[str]) -> float:
    return mean(row["mean"] for row in rows if row["metric"] == metric and row["class"] in classes)


def _units(found: Mapping[str, Any]) -> str:
    return " or ".join(sorted(set(found["unit"].values())))


def _number(value: float | None) -> str:
    return MISSING if value is None or value != value else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _with_interval(row: Row) -> str:
    low, high = _number(row["low"]), _number(row["high"])
    return _number(row["mean"]) + (f" ({low}–{high})" if MISSING not in (low, high) else "")
