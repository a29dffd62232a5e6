"""What people look at when a run is over: tables on the screen, and where everything was written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.errors import typed
from relay.results import mean

MISSING = "–"
NOTE = "Dice: mean over test samples, then over classes but background; a class absent from both is left out."


def number(value: float | None, digits: int = 3) -> str:
    """A number for a cell; a dash for what was not measured."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """A p for people."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def show_study(console: Console, summary: Mapping[str, Any], root: Path) -> None:
    """The matrix of a study: a row a leg, a column a site."""
    matrix = summary["matrix"]
    sites = list(dict.fromkeys(site for row in matrix.values() for site in row))
    external = (summary.get("relay") or {}).get("external") or {}  # no leg was trained there: not in the mean
    table = _table(f"{summary['study']}: Dice after each leg", ["leg", *sites, "mean"])
    for leg, row in matrix.items():
        cells = [math.nan if row.get(site) is None else row[site] for site in sites]
        trained = [cell for site, cell in zip(sites, cells, strict=True) if site not in external]
        table.add_row(str(leg), *map(number, [*cells, mean(trained)]))
    console.print(table)
    console.print(f"mean {number(summary['mean'])}, forgetting {number(summary['forgetting'])}. {NOTE}")
    show_paths(console, [root])


def show_comparison(console: Console, told: Mapping[str, Any], root: Path, page: Path) -> None:
    """Strategies side by side, from ``compare.json``: each site at the end, the whole, and the tests."""
    sites = list(dict.fromkeys(site for run in told["runs"] for site in run["final"]))
    ends = _table("Dice at the end, mean over runs", ["strategy", "runs", *sites, "mean ± sd", "95 % of patients"])
    whole = ["forgetting", "gap closed", "to joint, worst run", "to local, worst site", "cost", "carried"]
    rest = _table("Against the others", ["strategy", *whole])
    for row in told["table"]:
        finals = [run["final"] for run in told["runs"] if run["label"] == row["strategy"]]
        cells = [mean(final.get(site, math.nan) for final in finals) for site in sites]
        spread = number(row["mean"]) + ("" if math.isnan(row["sd"]) else f" ± {number(row['sd'])}")
        ends.add_row(escape(row["strategy"]), str(row["runs"]), *map(number, cells), spread, _bounds(row))
        site = f" ({row['to_local_worst_site']})" if row["to_local_worst_site"] else ""
        values = [number(row[key]) for key in ("forgetting", "gap_closed", "to_joint_worst", "to_local_worst")]
        values[-1] += escape(site)
        carried = MISSING if math.isnan(row["bytes"]) else f"{row['bytes'] / 1024:.1f} KiB"
        rest.add_row(escape(row["strategy"]), *values, number(row["cost"], 2), carried)
    tests = _table("Paired tests", ["difference", "patients", "Dice", "95 %", "p", "p (Holm)", "effect"])
    for test in told["tests"]:
        ps = [p_value(test[key]) for key in ("p", "p_holm")]
        difference = number(test["difference"])
        pair = escape(f"{test['a']} − {test['b']}")
        tests.add_row(pair, str(test["pairs"]), difference, _bounds(test), *ps, number(test["effect"], 2))
    for table in (ends, rest, *([tests] if told["tests"] else [])):
        console.print(table)
    console.print(f"Made of {len(told['runs'])} of {told['planned']} runs. {escape(told['method'])}", highlight=False)
    console.print("Written to:")
    for path, what in (
        (root, "compare.json, compare.csv, a folder for each run in runs/"),
        (page, "the same to look at"),
    ):
        console.print(f"  [bold]{escape(str(path))}[/]  {what}", highlight=False, soft_wrap=True)
    console.print(f"Curves: {escape(typed('tensorboard', '--logdir', root / 'runs'))}", highlight=False, soft_wrap=True)


LEFT = {"leg", "strategy", "difference"}


def _table(title: str, columns: Sequence[str]) -> Table:
    """Where a screen is narrow, names and numbers go on in the next line; nothing is cut."""
    table = Table(title=escape(title), title_justify="left")
    for place, column in enumerate(columns):
        left = place == 0 and column in LEFT
        table.add_column(escape(column), justify="left" if left else "right", overflow="fold")
    return table


def _bounds(row: Mapping[str, Any]) -> str:
    return MISSING if math.isnan(row["low"]) else f"{number(row['low'])} to {number(row['high'])}"


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
    console.print(f"Curves: {escape(typed('tensorboard', '--logdir', folder))}", highlight=False, soft_wrap=True)
