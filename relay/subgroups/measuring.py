"""Each group's scores with intervals, and how far groups are apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from relay.seeds import derive
from relay.statistics import describe, holm
from relay.subgroups.columns import Groups, Key
from relay.subgroups.scored import Sample, Scored
from relay.subgroups.sets import Gap, SetScore, largest_gaps, measure_set
from relay.tasks import Task

DRAWS = 9999
"""How often patients are dealt to groups at random, for a p-value."""
AT_ONCE = 256
"""Draws that are in memory together."""


@dataclass(frozen=True)
class Group:
    """One group.

    Attributes:
        patients, images: how many.
        scores: metric → what :func:`relay.statistics.describe` says; empty if the group is too small to be shown.
        of_set: metric of the group as a whole → its value; empty likewise, and of masks.
    """

    name: str
    patients: int
    images: int
    scores: Mapping[str, Mapping[str, float]]
    of_set: Mapping[str, SetScore] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column's groups, and the largest difference between two of them.

    Attributes:
        gap: of the means of the main metric, of groups that are shown; NaN with fewer than two.
        p: how often a gap as large comes about if patients are dealt to the groups at random, two-sided; ``corrected``:
            by Holm, for all columns that were looked at.
        unknown: how many images have no value.
        gaps: metric of whole groups → the largest difference of two.
    """

    name: str
    groups: Sequence[Group]
    gap: float
    p: float
    corrected: float
    unknown: int
    gaps: Mapping[str, Gap] = field(default_factory=dict)


def compare(scored: Scored, columns: Sequence[Groups], least: int, seed: int) -> list[Column]:
    """Measure every group of every column.

    Args:
        least: with fewer patients, a group is counted but not shown: its numbers would be single persons'.
        seed: of the random draws.
    """
    found = [_column(scored, groups, least, seed) for groups in columns]
    tested = [column for column in found if not math.isnan(column.p)]
    by_name = dict(zip((column.name for column in tested), holm([column.p for column in tested]), strict=True))
    return [replace(column, corrected=by_name.get(column.name, math.nan)) for column in found]


def _column(scored: Scored, groups: Groups, least: int, seed: int) -> Column:
    inside: dict[str, list[Sample]] = {name: [] for name in groups.order}
    for key, name in groups.of.items():
        inside[name].append(scored.samples[key])
    made = [_group(name, there, scored.task, least, seed) for name, there in inside.items()]
    shown = [group.name for group in made if group.scores]
    gap, p = _gap({name: inside[name] for name in shown}, scored.main, seed)
    gaps = largest_gaps({group.name: group.of_set for group in made if group.of_set})
    return Column(groups.column, made, gap, p, math.nan, groups.unknown, gaps)


def _group(name: str, there: Sequence[Sample], task: Task | None, least: int, seed: int) -> Group:
    patients = len({sample.patient for sample in there})
    metrics = dict.fromkeys(metric for sample in there for metric in sample.scores) if patients >= least else {}
    scores = {
        metric: describe([(sample.patient, sample.scores.get(metric, math.nan)) for sample in there], seed)
        for metric in metrics
    }
    of_set = measure_set(task, there, derive(seed, "subgroup", name)) if task is not None and scores else {}
    return Group(name, patients, len(there), scores, of_set)


def _gap(inside: Mapping[str, Sequence[Sample]], main: str, seed: int) -> tuple[float, float]:
    """The largest difference of two groups' means, and its p-value by permutation of whole patients.

    A patient whose images are in several groups counts with the first.
    """
    of: dict[Key, int] = {}
    values: dict[Key, list[float]] = defaultdict(list)
    for number, there in enumerate(inside.values()):
        for sample in there:
            if not math.isnan(score := sample.scores.get(main, math.nan)):
                of.setdefault(sample.patient, number)
                values[sample.patient].append(score)
    labels = np.array([of[patient] for patient in values], dtype=int)
    means = np.array([np.mean(each) for each in values.values()])
    if len(set(labels.tolist())) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    share = np.eye(len(inside))[labels]
    share = share[:, share.any(0)]
    share /= share.sum(0)
    observed = float(np.ptp(means @ share))
    more = 0
    for begin in range(0, DRAWS, AT_ONCE):
        drawn = rng.permuted(np.tile(means, (min(AT_ONCE, DRAWS - begin), 1)), axis=1)
        more += int((np.ptp(drawn @ share, axis=1) >= observed - 1e-12).sum())
    return observed, (more + 1) / (DRAWS + 1)
