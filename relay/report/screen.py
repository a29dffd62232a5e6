"""What people see after a run: one narrow table, what it means, and a link to the page with everything else."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from relay.numbers import MISSING, bounds, number, signed
from relay.report import verdict
from relay.report.gather import number as as_number
from relay.results import mean, own_legs, worst
from relay.screen import Column, show_place, show_table, show_text

__all__ = ["MISSING", "number", "p_value", "show_comparison", "show_study"]


def p_value(value: float | None) -> str:
    """A p-value for people."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def show_study(
    console: Console,
    summary: Mapping[str, Any],
    trained: Sequence[Sequence[str]],
    own: bool,
    page: Path,
    after: Sequence[str],
) -> None:
    """Dice at each site: right after its own leg, and at the end.

    Args:
        summary: from :func:`relay.simulate.summarise`.
        trained: the sites that each leg trained on.
        own: whether each leg starts from nothing, so that each site has its own model.
        after: the next command to run.
    """
    matrix, final, turns = summary["matrix"], summary["final"], own_legs(trained)
    legs, rows = sorted(matrix), []
    for site in dict.fromkeys([*turns, *final]):  # those trained on, then external ones
        then = as_number(matrix[legs[turns[site]]].get(site)) if site in turns else math.nan
        end = as_number(final.get(site))
        rows.append([site, number(then), number(end), signed(end - then)])
    columns = [Column("site", left=True), Column("after its own leg", 1), Column("at the end"), Column("change", 2)]
    if len(legs) == 1 or own:  # nothing follows
        columns, rows = [columns[0], Column("Dice")], [[row[0], row[2]] for row in rows]
    show_table(console, f"{summary['study']}, {summary['strategy']}: mean Dice of test images", columns, rows)
    show_text(console, verdict.of_study(summary, trained, own))
    show_place(console, "The page", page)
    show_place(console, "Next", shlex.join(after))


def show_comparison(console: Console, content: Mapping[str, Any], page: Path) -> None:
    """Strategies side by side, from ``compare.json``."""
    rows = []
    for row in content["table"]:
        interval = bounds(as_number(row["low"]), as_number(row["high"]))
        low = _worst([run["final"] for run in content["runs"] if run["label"] == row["strategy"]])
        rows.append([row["strategy"], number(row["mean"]), interval, low, number(row["forgetting"])])
    heads = [Column("mean Dice"), Column("95 % interval", 2), Column("worst site", 1), Column("forgetting", 3)]
    show_table(console, f"{content['study']}: Dice at the end", [Column("strategy", left=True), *heads], rows)
    show_text(console, verdict.of_comparison(content))
    if len(content["runs"]) < content["planned"]:
        show_text(console, f"Based on {len(content['runs'])} of {content['planned']} runs.")
    show_place(console, "The page, with tests and figures", page)


def _worst(finals: Sequence[Mapping[str, Any]]) -> str:
    """``0.809 clinic_b``: mean over runs at the site where it is lowest."""
    sites = dict.fromkeys(site for final in finals for site in final)
    low = worst({site: mean(as_number(final.get(site)) for final in finals) for site in sites})
    return MISSING if low["site"] is None else f"{number(low['value'])} {low['site']}"
