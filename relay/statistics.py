"""How sure a mean is, and whether two strategies differ: bootstrap and t intervals, a signed-rank test, Holm.

Images of one patient are alike, so the patient is the unit of everything here: patients are resampled, and tests are
made of one number a patient. What was not measured is NaN, and left out. What is said is about *these* models on other
patients; how much another order or seed changes is the spread over runs, and not in an interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any, Literal, TypeAlias

import numpy as np

MISSING = math.nan
MIN_PATIENTS = 10
"""Below this many the bootstrap's correction is more noise than help: the percentile interval is given."""
MIN_PAIRS = 6
"""With five pairs no two-sided p is under 0.05, whatever was measured."""
LEVEL, RESAMPLES = 0.95, 2000
INTERVAL = (
    f"{LEVEL:.0%} intervals of the mean over samples, from {RESAMPLES} bootstrap resamples of whole patients: BCa "
    "(bias-corrected and accelerated), or percentile where there are few patients"
)
"""How :func:`describe` makes them, in words."""

Method = Literal["BCa", "percentile", "t", "none"]
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Pairs: TypeAlias = Mapping[tuple[Hashable, ...], float]
"""Key → value; the first part of a key names the patient."""


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds that it lies between.

    Attributes:
        mean: NaN where nothing was measured.
        low, high: NaN where there are too few patients.
        method: how the bounds were made; ``none``: there are none.
    """

    mean: float
    low: float
    high: float
    method: Method


@dataclass(frozen=True)
class Comparison:
    """Two strategies on the same patients.

    Attributes:
        pairs: patients measured under both.
        difference: mean over patients of a − b; ``low`` and ``high`` its bootstrap interval.
        p: two-sided, of Wilcoxon's signed-rank test; NaN for fewer than :data:`MIN_PAIRS` pairs.
        effect: matched-pairs rank-biserial correlation, −1 (b is better in every pair) to 1 (a is).
    """

    pairs: int
    difference: float
    low: float
    high: float
    p: float
    effect: float


def interval(
    values: Sequence[float],
    patients: Sequence[Hashable],
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    strata: Sequence[Hashable] | None = None,
) -> Interval:
    """Bootstrap interval of the mean over samples, patients drawn with all their samples (cluster bootstrap).

    BCa (Efron 1987, 10.2307/2289144) with a jackknife over patients where there are :data:`MIN_PATIENTS` and the
    resamples allow it, else percentile. Equal to ``scipy.stats.bootstrap`` with the same generator where each patient
    has one sample.

    Args:
        values: one a sample; NaN is left out.
        patients: whose sample it is.
        strata: which part (site) a sample belongs to: the mean is then over parts, and patients are drawn within each.

    Raises:
        ValueError: lengths differ, or ``level`` is not between 0 and 1.
    """
    parts = _clusters(values, patients, strata)
    _check_level(level)
    if not parts:
        return Interval(MISSING, MISSING, MISSING, "none")
    mean = float(np.mean([total.sum() / count.sum() for total, count in parts]))
    if min(len(total) for total, _ in parts) < 2:
        return Interval(mean, MISSING, MISSING, "none")
    rng = np.random.default_rng(seed)
    drawn = np.mean([_resampled(rng, total, count, resamples) for total, count in parts], axis=0)
    tails, method = _tails(parts, drawn, mean, level)
    low, high = np.quantile(drawn, tails)
    return Interval(mean, float(low), float(high), method)


def describe(found: Sequence[tuple[Hashable, float]], seed: int) -> dict[str, Any]:
    """Number, spread and interval (:data:`INTERVAL`) of (patient, value); what is missing is counted and left out.

    Returns:
        ``samples``, ``patients``, ``measured``; ``mean``, ``sd`` (n - 1), ``median``, ``min``, NaN of too few; ``low``
        and ``high`` of the interval, and its ``method``.
    """
    there = [(patient, value) for patient, value in found if not math.isnan(value)]
    values = [value for _, value in there]
    about = interval(values, [patient for patient, _ in there], seed, LEVEL, RESAMPLES)
    return {
        "samples": len(found),
        "patients": len({patient for patient, _ in found}),
        "measured": len(values),
        "mean": fmean(values) if values else math.nan,
        "sd": stdev(values) if len(values) > 1 else math.nan,
        "median": median(values) if values else math.nan,
        "min": min(values, default=math.nan),
        "low": about.low,
        "high": about.high,
        "method": about.method,
    }


def t_interval(values: Sequence[float], patients: Sequence[Hashable], level: float = 0.95) -> Interval:
    """Student's t interval over patients' means: the mean is over patients, each counted once.

    Raises:
        ValueError: lengths differ, or ``level`` is not between 0 and 1.
    """
    from scipy.stats import t

    _check_level(level)
    means: Floats = np.concatenate([np.empty(0), *(total / count for total, count in _clusters(values, patients))])
    if len(means) < 2:
        return Interval(float(means[0]) if len(means) else MISSING, MISSING, MISSING, "none")
    half = t.ppf((1 + level) / 2, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
    return Interval(float(means.mean()), float(means.mean() - half), float(means.mean() + half), "t")


def paired(a: Pairs, b: Pairs, seed: int = 0, level: float = 0.95) -> Comparison:
    """Compare what was measured under both a and b, one number a patient: the mean of its differences.

    Wilcoxon's signed-rank test (1945, 10.2307/3001968), two-sided; pairs without a difference take part in the ranking
    and then drop out (Pratt 1959, 10.1080/01621459.1959.10501526); no difference at all is p = 1. The effect is the
    rank sum of the pairs where a is better minus that where b is, over both (Kerby 2014, 10.2466/11.IT.3.1).
    """
    apart: dict[Hashable, list[float]] = defaultdict(list)
    for key in a.keys() & b.keys():
        if not math.isnan(gap := a[key] - b[key]):
            apart[key[0]].append(gap)
    differences = np.sort([math.fsum(found) / len(found) for found in apart.values()])
    bounds = interval(differences.tolist(), range(len(differences)), seed, level)
    p, effect = _signed_rank(differences)
    return Comparison(len(differences), bounds.mean, bounds.low, bounds.high, p, effect)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979, jstor.org/stable/4615733), in the order given.

    What is missing stays missing and does not count as a test.
    """
    there = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    adjusted, highest = [MISSING] * len(ps), 0.0
    for rank, (p, place) in enumerate(there):
        highest = max(highest, min(1.0, (len(there) - rank) * p))
        adjusted[place] = highest
    return adjusted


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: must be between 0 and 1")


def _clusters(
    values: Sequence[float], patients: Sequence[Hashable], strata: Sequence[Hashable] | None = None
) -> list[tuple[Floats, Floats]]:
    """For each stratum: sum and number of each patient's samples. Sorted, so that the order of the input is nothing."""
    strata = [None] * len(values) if strata is None else strata
    if not len(values) == len(patients) == len(strata):
        raise ValueError(f"{len(values)} values, {len(patients)} patients and {len(strata)} strata: lengths differ")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for value, patient, stratum in zip(values, patients, strata, strict=True):
        if not math.isnan(value):
            found[repr(stratum)][repr(patient)].append(float(value))
    return [
        (
            np.array([math.fsum(by[name]) for name in sorted(by)]),
            np.array([len(by[name]) for name in sorted(by)], float),
        )
        for _, by in sorted(found.items())
    ]


def _resampled(rng: np.random.Generator, total: Floats, count: Floats, resamples: int) -> Floats:
    """The mean of each resample, ``(resamples,)``."""
    drawn = rng.integers(0, len(total), (resamples, len(total)))
    means: Floats = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    return means


def _tails(parts: Sequence[tuple[Floats, Floats]], drawn: Floats, mean: float, level: float) -> tuple[Floats, Method]:
    """Which quantiles of the resamples are the bounds."""
    from scipy.special import ndtr, ndtri

    plain = np.array([(1 - level) / 2, (1 + level) / 2])
    if sum(len(total) for total, _ in parts) < MIN_PATIENTS:
        return plain, "percentile"
    bias = ndtri(((drawn < mean).mean() + (drawn <= mean).mean()) / 2)
    skew = _acceleration(parts)
    z = bias + ndtri(plain)
    with np.errstate(invalid="ignore"):
        tails = ndtr(bias + z / (1 - skew * z))
    return (tails, "BCa") if np.isfinite(tails).all() else (plain, "percentile")


def _acceleration(parts: Sequence[tuple[Floats, Floats]]) -> float:
    """Of BCa, for several samples as in Davison and Hinkley (1997), eq. 5.26; NaN where no patient matters."""
    cubes = squares = 0.0
    for total, count in parts:
        without = (total.sum() - total) / (count.sum() - count)
        pull = (len(total) - 1) * (without.mean() - without) / len(total)
        cubes, squares = cubes + float((pull**3).sum()), squares + float((pull**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else MISSING


def _signed_rank(differences: Floats) -> tuple[float, float]:
    """p and effect."""
    from scipy.stats import rankdata, wilcoxon

    if not differences.any():
        none = 1.0 if len(differences) >= MIN_PAIRS else MISSING
        return none, 0.0 if len(differences) else MISSING
    ranks = rankdata(np.abs(differences))
    better, worse = ranks[differences > 0].sum(), ranks[differences < 0].sum()
    enough = len(differences) >= MIN_PAIRS
    p = float(wilcoxon(differences, zero_method="pratt").pvalue) if enough else MISSING
    return p, float((better - worse) / (better + worse))
