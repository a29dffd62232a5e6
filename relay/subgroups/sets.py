"""Metrics that only a whole set of samples has, such as AUROC: of each group, with intervals and the largest gap."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.statistics import LEVEL, MIN_PATIENTS
from relay.subgroups.scored import Sample
from relay.tasks import Task

RESAMPLES = 1000
"""How often a group's patients are drawn again, with all their images."""
KNOWN = 0.9
"""In fewer of the resamples than this share, a metric could be measured: then it has no interval."""


@dataclass(frozen=True)
class SetScore:
    """A metric of a group as a whole.

    Attributes:
        value: NaN if it can't be measured.
        drawn: of each resample of the patients; empty with too few of them.
    """

    value: float
    drawn: NDArray[np.float64]

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the 95 % interval: percentiles of the resamples; NaN if there is none."""
        return percentiles(self.drawn)


@dataclass(frozen=True)
class Gap:
    """The largest difference of two groups, ``high`` minus ``low``, and its interval; NaN if there is none."""

    high: str
    low: str
    value: float
    bounds: tuple[float, float]


def percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of what could be measured; NaN if too little could."""
    there = drawn[~np.isnan(drawn)]
    if not len(drawn) or len(there) < KNOWN * len(drawn):
        return math.nan, math.nan
    low, high = np.quantile(there, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def measure_set(task: Task, samples: Sequence[Sample], seed: int) -> dict[str, SetScore]:
    """Every metric of a set, over all classes. Resamples are of patients, with all their images.

    Args:
        task: one that is not dense; each sample has its answer and truth.
        seed: another one for each group, or their resamples would go together, and their difference vary too little.
    """
    by_patient: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        by_patient[sample.patient].append(place)
    patients = [np.array(places) for places in by_patient.values()]
    answers, truths = np.array([one.answer for one in samples]), np.array([one.truth for one in samples])

    def measured(places: NDArray[np.int64]) -> dict[str, float]:
        found = task.measure(answers[places], truths[places]).values
        return {metric: value for name, metric, value in found if not name}

    whole, rng = measured(np.arange(len(samples))), np.random.default_rng(seed)
    times = RESAMPLES if len(patients) >= MIN_PATIENTS else 0
    drawn = [
        measured(np.concatenate([patients[k] for k in rng.integers(len(patients), size=len(patients))]))
        for _ in range(times)
    ]
    return {metric: SetScore(value, np.array([one[metric] for one in drawn])) for metric, value in whole.items()}


def largest_gaps(groups: Mapping[str, Mapping[str, SetScore]]) -> dict[str, Gap]:
    """Of each metric, the two groups that differ most. Groups are drawn independently of each other."""
    found: dict[str, Gap] = {}
    for one, other in itertools.permutations(groups, 2):
        for metric, score in groups[one].items():
            value = score.value - groups[other][metric].value
            if value >= 0 and (metric not in found or value > found[metric].value):
                pairs = zip(score.drawn, groups[other][metric].drawn, strict=False)
                apart = np.array([first - second for first, second in pairs])
                found[metric] = Gap(one, other, value, percentiles(apart))
    return found
