"""What was found of the memories, as tables of the page: what one patient changes, rare classes, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.bundle import audits
from relay.memory import Duplicates, Influence
from relay.numbers import number
from relay.privacy.on_memories import Memories, Small
from relay.report import Table

MEMORIES = (
    "These numbers tell how many patients there are behind a memory. They stay at this site.",
    "What one patient changes is what can be learned of that patient by somebody who knows all others: at most the "
    "range of a number, divided by the number of patients behind it.",
    "A class of few patients can be reconstructed from a memory if the nearest of them is far nearer to it than "
    "patients whom it has never seen. At 1, the nearest is as near as they usually are; the nearest of many is nearer.",
)


def memory_tables(found: Memories) -> Iterator[Table]:
    """One table for each question; none where no memory answers it."""
    if found.influences:
        yield _influences(found.influences)
    if found.classes:
        yield _classes(found.classes)
    if found.repeats:
        yield _repeats(found.repeats)


def _influences(found: Sequence[tuple[audits.Part, Influence]]) -> Table:
    rows = [
        [audits.PARTS[part], one.what, str(one.patients), f"{one.bound:.1%}", f"{one.measured:.1%}"]
        for part, one in found
    ]
    notes = ["Both as a share of the range. The most measured is the largest change when one patient is left out."]
    if not all(one.same for _, one in found):
        notes.append(
            "What was measured again is not exactly what was released (an option clips it, or images have changed): "
            "the most measured is of something similar; the bound holds."
        )
    columns = ["memory", "what", "patients", "at most", "most measured"]
    return Table("What one patient changes", columns, rows, heads=2, notes=notes)


def _classes(found: Sequence[Small]) -> Table:
    rows = [
        [
            audits.PARTS[one.part],
            one.by,
            one.name,
            str(one.patients),
            str(one.others),
            number(one.nearest, 2),
            "near" if one.suspicious else "",
        ]
        for one in found
    ]
    columns = ["memory", "what", "class", "patients", "others", "nearest", "few and near"]
    note = (
        f"Near: at most {audits.FEW} patients have the class, and the nearest is less than {audits.NEAR:g} times as "
        "far as others usually are, or there are no others to compare with."
    )
    return Table("Nearest patient who was trained on, by class", columns, rows, heads=3, notes=[note])


def _repeats(found: Sequence[tuple[audits.Part, Duplicates]]) -> Table:
    rows = [[audits.PARTS[part], str(o.samples), str(o.repeated), str(o.largest)] for part, o in found]
    note = "Alike: nearer to each other than half the usual distance from an image to the nearest other patient's."
    return Table("Samples that are alike", ["memory", "drawn", "alike", "largest group"], rows, notes=[note])
