"""What people see after a run: one narrow table, what it means, and a link to the page with everything else."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from relay.measures import AT_HOME, EVERYWHERE, MEASURES
from relay.numbers import MISSING, number, signed
from relay.report import verdict
from relay.report.gather import number as as_number
from relay.results import own_legs
from relay.screen import Column, show_place, show_table, show_text
from relay.tasks import named

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
    """Scores at each site: right after its own leg, and at the end; what it adopted; of a lone model, everywhere.

    Args:
        summary: from :func:`relay.simulate.summarise`.
        trained: the sites that each leg trained on.
        own: whether each leg starts from nothing, so that each site has its own model.
        after: the next command to run.
    """
    matrix, final, turns = summary["matrix"], summary["final"], own_legs(trained)
    legs, rows, task = sorted(matrix), [], named(summary.get("task"))
    for site in dict.fromkeys([*turns, *final]):  # those trained on, then external ones
        then = as_number(matrix[legs[turns[site]]].get(site)) if site in turns else math.nan
        end = as_number(final.get(site))
        rows.append([site, number(then), number(end), signed(end - then)])
    columns = [Column("site", left=True), Column("after its own leg", 1), Column("at the end"), Column("change", 2)]
    if len(legs) == 1 or own:  # nothing follows
        columns, rows = [columns[0], Column(task.title())], [[row[0], row[2]] for row in rows]
    head, values = _beside(summary, own)
    if values:
        columns, rows = [*columns, Column(head)], [[*row, number(values.get(row[0]))] for row in rows]
    show_table(console, f"{summary['study']}, {summary['strategy']}: {task.score_name} of test images", columns, rows)
    show_text(console, f"{verdict.of_study(summary, trained, own)} {verdict.next_door(summary)}".strip())
    show_place(console, "The page", page)
    show_place(console, "Next", shlex.join(after))


def _beside(summary: Mapping[str, Any], own: bool) -> tuple[str, dict[str, float]]:
    """Another column: what sites' own models reach on average at each site; or, if they differ, the adopted models."""
    measures, final = summary.get("measures") or {}, summary["final"]
    found = {site: as_number(value) for site, value in measures.get(EVERYWHERE if own else AT_HOME, {}).items()}
    if own:
        return "any site's model", found
    return "adopted", found if any(number(found[site]) != number(as_number(final.get(site))) for site in found) else {}


def show_comparison(console: Console, content: Mapping[str, Any], page: Path) -> None:
    """Strategies side by side, from ``compare.json``."""
    rows = [line for row in content["table"] for line in _lines(row)]
    columns = [Column("strategy", left=True), Column("at home"), Column("vs\nlocal", 2), Column("everywhere")]
    columns += [Column("vs\njoint", 3), Column("elsewhere", 1), Column("vs\njoint", 4)]
    shown = [place for place in range(len(columns)) if not place or any(row[place] != MISSING for row in rows)]
    cells = [[row[place] for place in shown] for row in rows]
    name = named(content.get("task")).score_name
    title = f"{content['study']}: {name} at the end (vs: the lowest gain of any site)"
    show_table(console, title, [columns[place] for place in shown], cells)
    show_text(console, verdict.of_comparison(content))
    for label, steps in (content.get("steps") or {}).items():
        more = "and more when sites adopt a model: compare with longer training, too"
        show_text(console, f"{label} makes {steps:g} times as many steps in a leg as the config says, {more}.")
    if len(content["runs"]) < content["planned"]:
        show_text(console, f"Based on {len(content['runs'])} of {content['planned']} runs.")
    show_place(console, "The page, with tests and figures", page)


def _lines(row: Mapping[str, Any]) -> Iterator[list[str]]:
    """A strategy's line: each measure, and its difference at the site where that is lowest; then one for its
    generalist, if its experts vote."""
    for label, of in ((row["strategy"], row), (" generalist", row.get("generalist") or {})):
        found = [of.get(name) or {} for name in MEASURES]
        if any(found):
            pairs = [(gain.get("mean"), (gain.get("lowest") or {}).get("value")) for gain in found]
            yield [label, *(cell for value, lowest in pairs for cell in (number(value), signed(lowest)))]
