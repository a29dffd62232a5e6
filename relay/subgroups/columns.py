"""From a column's values to groups of samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from relay.data import is_missing
from relay.errors import UserError, some

MANY = 6
"""With more different numbers than this, a column is divided into bands."""
MOST = 20
"""With more different words than this, a column names people or images rather than groups of them."""

Key = tuple[str, str]
"""A site and a sample."""


@dataclass(frozen=True)
class Groups:
    """A column's groups.

    Attributes:
        column: its name.
        of: sample → its group.
        order: the groups' names, in order.
        unknown: how many samples have no value.
    """

    column: str
    of: Mapping[Key, str]
    order: Sequence[str]
    unknown: int


def divide(
    column: str, values: Mapping[Key, str], cuts: Sequence[float] = (), patients: Mapping[Key, str] | None = None
) -> Groups:
    """Divide samples by their value.

    Numbers are divided into bands: at ``cuts``, or else, if they are many, at the quartiles of the samples.

    Args:
        values: sample → value; empty, or a usual word for a missing value, if it is not known.
        patients: sample → patient, for messages; None: the sample's own name.

    Raises:
        UserError: nothing is known, values are no numbers although there are cuts or most are, or there are too many
            words.
    """
    known = {key: value.strip() for key, value in values.items() if not is_missing(value)}
    if not known:
        raise UserError(f"--by {column}: no test image has a value in this column", "Name a column that is filled in.")
    numbers = _numbers(known)
    if cuts and numbers is None:
        raise _no_numbers(f"--bands {column}", known, patients or {})
    if numbers is not None and (cuts or len(set(numbers.values())) > MANY):
        ends = list(cuts) or sorted(set(quantiles(numbers.values(), n=4)))
        of = {key: _band(number, ends) for key, number in numbers.items()}
        order = [name for name in _bands(ends) if name in of.values()]
    else:
        of = known
        order = sorted(set(known.values()), key=lambda value: (_number(value) is None, _number(value) or 0, value))
    if len(order) > MOST:
        if numbers is None and sum(_number(name) is not None for name in order) > len(order) / 2:
            raise _no_numbers(f"--by {column}", known, patients or {})
        raise UserError(
            f"--by {column} has {len(order)} different values, so hardly any group has more than a few patients",
            "Name a column of groups, such as a sex or a scanner; or add one to the table.",
        )
    return Groups(column, of, order, len(values) - len(known))


def _no_numbers(option: str, known: Mapping[Key, str], patients: Mapping[Key, str]) -> UserError:
    """All values that are no numbers, each with its patients."""
    whose: dict[str, dict[str, None]] = {}
    for key, value in known.items():
        if _number(value) is None:
            whose.setdefault(value, {})[patients.get(key, key[1])] = None
    told = [f"'{value}' ({some(list(names), 3)})" for value, names in whose.items()]
    return UserError(
        f"{option}: {some(told)} {'is no number' if len(told) == 1 else 'are no numbers'}",
        "Correct these cells of the table: decimals are written with a point. Or empty them: their images are then in "
        "no group.",
    )


def _numbers(known: Mapping[Key, str]) -> dict[Key, float] | None:
    found = {key: _number(value) for key, value in known.items()}
    numbers = {key: number for key, number in found.items() if number is not None}
    return numbers if len(numbers) == len(found) else None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _bands(ends: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to under {high:g}" for low, high in itertools.pairwise(ends)]
    return [f"under {ends[0]:g}", *inner, f"{ends[-1]:g} or more"]


def _band(number: float, ends: Sequence[float]) -> str:
    return _bands(ends)[sum(number >= end for end in ends)]
