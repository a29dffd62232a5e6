"""What ``relay models`` prints: the tables of a library, the facts of a model, how two models differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.cli import ask
from relay.errors import plain, some

if TYPE_CHECKING:
    from relay.models import About, Comparison, Entry, Library

ROWS = 60
"""Maximum number of rows of a table."""
WIDEST = 200
"""Longest text in a cell, in characters."""


def table(found: Library) -> None:
    """One row for each model: what it is, and whether it can be trusted."""
    from rich.console import Console

    from relay.screen import Column, show_table

    ranks = {"date": 1, "net": 2, "task": 3}
    heads = ("#", "study", "leg", "site", "date", "net", "task", "signature")
    columns = [Column(head, ranks.get(head, 0), left=head not in ("#", "date")) for head in heads]
    rows = [[str(number), *_row(entry)] for number, entry in enumerate(found.entries, 1)]
    show_table(Console(), f"{len(found.entries)} models", columns, rows)


def _row(entry: Entry) -> list[str]:
    from relay.numbers import MISSING

    about = entry.about
    if about is None:
        return [*[MISSING] * 6, entry.trust.level]
    told = [about.study, about.leg, about.site, about.date[:10], about.net, about.task, entry.trust.level]
    return [MISSING if text is None else _cell(text) for text in told]


def descent(about: About) -> str:
    """A model and what it comes from, by digest."""
    if about.parents:
        return f"{about.link.id[:12]}: {' + '.join(about.parents)}"
    return f"{about.link.text}, {f'trained from {about.parent.text}' if about.parent else 'the first of its lineage'}"


def _cell(text: object) -> str:
    return plain(str(text), most=WIDEST)


def scores(found: Library) -> None:
    """One row for each model, one column for each test set."""
    from rich.console import Console

    from relay.bundle import cards
    from relay.numbers import number
    from relay.screen import Column, fits, show_table

    there = {n: (e.about, found.scores(e)) for n, e in enumerate(found.entries, 1) if e.about and e.about.scores}
    sites = list(dict.fromkeys(site for _, scores in there.values() for site in scores))
    if not sites:
        return
    title = "Scores at every site, measured by the leg of the model, or by the next leg when the model arrived there"
    columns = [Column("#"), Column("score", 1, left=True), *map(Column, sites)]
    rows = [
        [str(n), about.score_name, *(number(scores.get(site)) for site in sites)]
        for n, (about, scores) in there.items()
    ]
    if len(sites) <= cards.COLUMNS and fits(Console(), columns, rows):
        show_table(Console(), title, columns, rows)
        return
    ask.say(f"{title}:")
    for n, (about, scores) in there.items():
        told = [f"{site} {number(score)}" for site, score in scores.items()]
        ask.say(f"  {n:>3}  {about.score_name}: {some(told, cards.COLUMNS)}")


def lines(about: About) -> list[tuple[str, str]]:
    """What is said about a model, as labelled lines."""
    from relay.numbers import number

    scores = ", ".join(f"{site} {number(score)}" for site, score in about.scores.items())
    by = [f"{about.leg}, by {about.site}"] if about.leg else []
    return [
        ("study", about.study),
        *(("leg", text) for text in by),
        ("made", about.date),
        ("net", about.net),
        ("task", f"{about.task}: {', '.join(about.head.data.classes)}"),
        ("strategy", about.strategy),
        *([("samples", str(about.samples))] if about.samples is not None else []),
        *([("scores", f"{about.score_name}: {scores}")] if scores else []),
        ("id", about.link.id),
        ("model", f"sha256 {about.link.model or 'not known'}"),
        ("parent", about.parent.id if about.parent else "none"),
    ]


def facts(found: Sequence[tuple[str, str, str]]) -> None:
    """What the cards of two models say differently."""
    from rich.console import Console

    from relay.screen import Column, show_table

    if not found:
        ask.say("Their cards say the same.")
        return
    rows = [[_cell(text) for text in row] for row in found[:ROWS]]
    show_table(Console(), "Where their cards differ", [Column(head, left=True) for head in ("", "A", "B")], rows)
    if len(found) > ROWS:
        ask.say(f"  and {len(found) - ROWS} more, not shown")


def compared_scores(found: Comparison) -> None:
    """The scores of two models side by side."""
    from rich.console import Console

    from relay.numbers import number, signed
    from relay.screen import Column, show_table

    if not found.scores:
        return
    columns = [Column("test set", left=True), Column("A"), Column("B"), Column("B - A")]
    rows = [
        [site, number(a), number(b), signed(None if a is None or b is None else b - a)]
        for site, a, b in found.scores[:ROWS]
    ]
    show_table(Console(), found.score_name, columns, rows)


def distances(found: Comparison) -> None:
    """The distance of the weights, layer by layer; or why they can't be compared."""
    from rich.console import Console

    from relay.numbers import MISSING
    from relay.screen import Column, show_table

    if not found.distances:
        ask.say(f"The weights are not compared: {found.why}")
        return
    columns = [Column("layer", left=True), Column("values", 1), Column("relative distance")]
    rows = [
        [_cell(one.layer), f"{one.values:,}", MISSING if one.relative is None else f"{one.relative:.3g}"]
        for one in found.distances[: ROWS + 1]
    ]
    show_table(Console(), "Norm of B - A over the norm of A, for floating-point weights", columns, rows)
    if (more := len(found.distances) - len(rows)) > 0:
        ask.say(f"  and {more} more layers, not shown")
