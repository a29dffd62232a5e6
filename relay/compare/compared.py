"""A comparison's runs as they are read, and which of them go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from relay.tasks import Task, named

Sample: TypeAlias = tuple[str, str, str, str]
"""Site, patient, sample, class."""


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        summary: as in ``compare.json``.
        scores: at home, of each sample and class except background.
        trained: the sites that each leg trained on.
        alone: whether each leg starts from nothing.
    """

    summary: Mapping[str, Any]
    scores: Mapping[Sample, float]
    trained: Sequence[Sequence[str]] = ()
    alone: bool = False

    @property
    def task(self) -> type[Task]:
        """The study's task, which compares scores."""
        return named(self.summary.get("task"))

    def goes_with(self, other: ComparedRun) -> bool:
        """Whether the two can be compared."""
        one, two = self.summary, other.summary
        same = all(one[key] == two[key] for key in ("seed", "left_out"))
        return same and (not one["order"] or not two["order"] or one["order"] == two["order"])

    def of(self, measure: str) -> Mapping[str, float]:
        """Site → score, of one of the measures."""
        found: Mapping[str, float] = self.summary["measures"][measure]
        return found


Groups: TypeAlias = Mapping[str, Sequence[ComparedRun]]


def pairs(some: Sequence[ComparedRun], others: Sequence[ComparedRun]) -> list[tuple[ComparedRun, ComparedRun]]:
    """All pairs that go together, one of each."""
    return [(a, b) for a, b in product(some, others) if a.goes_with(b)]
