"""Deal the rows of a table into train, val and test: by patient, and class by class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

from relay.data import SPLITS, SplitName, alike
from relay.errors import UserError
from relay.seeds import generator

HOW = "Give train, val and test, such as 50:25:25; val may be 0."


def shares_of(text: str) -> dict[SplitName, Fraction]:
    """``50:25:25`` as shares that add up to 1.

    Raises:
        UserError: these are not three numbers, or nothing is left to train or to test on.
    """
    try:
        numbers = [Fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        raise UserError(f"--shares {text}: not numbers", HOW) from None
    if len(numbers) != 3 or min(numbers) < 0 or numbers[0] == 0 or numbers[2] == 0:
        raise UserError(f"--shares {text}: not three parts with something to train and to test on", HOW)
    return {name: number / sum(numbers) for name, number in zip(SPLITS, numbers, strict=True)}


def deal(
    patients: Sequence[str], classes: Sequence[str], shares: Mapping[SplitName, Fraction], seed: int
) -> list[SplitName]:
    """A split for each row. All rows of a patient, however the name is written, get the same one.

    Patients are put into groups by the classes of their rows. In each group, in a random order, a patient goes to the
    split that is furthest below its share, in this group and overall together: so even groups of one patient are shared
    out. (Largest remainders, as in dealing out seats; with one class for all, by patient alone.)

    Args:
        patients, classes: Of each row.
        shares: Of each split, together 1.
        seed: Decides the order.

    Raises:
        UserError: there are too few patients for a split that has a share.
    """
    of: dict[str, set[str]] = defaultdict(set)
    for patient, label in zip(patients, classes, strict=True):
        of[alike(patient)].add(label)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for patient, labels in sorted(of.items()):
        groups[tuple(sorted(labels))].append(patient)
    dealt: dict[str, SplitName] = {}
    everywhere: Counter[SplitName] = Counter()
    parts = [part for part in SPLITS if shares[part] > 0]
    for key, group in sorted(groups.items()):
        generator(seed, "|".join(key), "split").shuffle(group)
        here: Counter[SplitName] = Counter()
        for patient in group:
            lacks = {part: _lack(shares, part, here) + _lack(shares, part, everywhere) for part in parts}
            dealt[patient] = max(parts, key=lambda part: lacks[part])
            here[dealt[patient]] += 1
            everywhere[dealt[patient]] += 1
    empty = [name for name, share in shares.items() if share > 0 and name not in dealt.values()]
    if empty:
        raise UserError(
            f"{len(of)} patients are too few for these shares: nobody is left for {' and '.join(empty)}",
            "Give larger shares, or more patients.",
        )
    return [dealt[alike(patient)] for patient in patients]


def _lack(shares: Mapping[SplitName, Fraction], part: SplitName, dealt: Counter[SplitName]) -> Fraction:
    """By how much a split would be below its share if the next patient went elsewhere."""
    return shares[part] * (dealt.total() + 1) - dealt[part]
