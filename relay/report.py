"""What people look at when a run is over: tables on the screen, and where everything was written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MISSING = "–"
NOTE = "Dice: mean over test samples, then over classes but background; a class absent from both is left out."


def number(value: float | None, digits: int = 3) -> str:
    """A number for a cell; a dash for what was not measured."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def show_study(console: Console, summary: Mapping[str, Any], root: Path) -> None:
    """The matrix of a study: a row a leg, a column a site."""
    matrix = summary["matrix"]
    sites = list(dict.fromkeys(site for row in matrix.values() for site in row))
    table = Table(title=f"{summary['study']}: Dice after each leg")
    table.add_column("leg")
    for site in [*sites, "mean"]:
        table.add_column(site, justify="right")
    for leg, row in matrix.items():
        cells = [row.get(site) for site in sites]
        there = [c for c in cells if c is not None and not math.isnan(c)]
        mean = sum(there) / len(there) if there else None
        table.add_row(str(leg), *map(number, [*cells, mean]))
    console.print(table)
    console.print(f"mean {number(summary['mean'])}, forgetting {number(summary['forgetting'])}. {NOTE}")
    show_paths(console, [root])


def show_comparison(console: Console, summaries: Sequence[Mapping[str, Any]], roots: Sequence[Path]) -> None:
    """Strategies side by side: each site's Dice at the end, their mean, and what was forgotten."""
    sites = list(dict.fromkeys(site for s in summaries for site in s["final"]))
    table = Table(title="Dice at the end, by strategy and site")
    table.add_column("strategy")
    for column in [*sites, "mean", "forgetting"]:
        table.add_column(column, justify="right")
    for summary in summaries:
        cells = [summary["final"].get(site) for site in sites]
        table.add_row(summary["strategy"], *map(number, [*cells, summary["mean"], summary["forgetting"]]))
    console.print(table)
    console.print(f"{NOTE} local: each site's own model on its own test set.")
    show_paths(console, roots)


def show_predictions(console: Console, summary: Mapping[str, Any], root: Path) -> None:
    """Dice of each checkpoint on each test set, class by class."""
    table = Table(title=f"{summary['study']}: sample-wise Dice")
    for column in ("checkpoint", "test set", "samples", *summary["classes"], "mean"):
        table.add_column(column, justify="left" if column in {"checkpoint", "test set"} else "right")
    for row in summary["rows"]:
        cells = [row["dice"].get(name) for name in summary["classes"]]
        table.add_row(row["checkpoint"], row["site"], str(row["samples"]), *map(number, [*cells, row["mean"]]))
    console.print(table)
    console.print(NOTE)
    show_paths(console, [root])


def show_paths(console: Console, roots: Sequence[Path]) -> None:
    """Everything that was written: the folders, and what is in them."""
    parts = {
        "results": "scores by sample (CSV) and their summary (JSON)",
        "checkpoints": "each leg's last.ckpt, and the carry for the next site",
        "tensorboard": "curves",
        "splits": "who is in train, val and test",
        "logs": "the log",
    }
    console.print("Written to:")
    for root in roots:
        console.print(f"  [bold]{escape(str(root))}/[/]", highlight=False, soft_wrap=True)
    for name, what in parts.items():
        if any((root / name).exists() for root in roots):
            console.print(f"    {name}/  {what}", highlight=False, soft_wrap=True)
    folder = roots[0] if len(roots) == 1 else roots[0].parent
    console.print(f"Curves: tensorboard --logdir {escape(str(folder))}", highlight=False, soft_wrap=True)
