"""How sure a mean is, and whether two strategies differ: bootstrap and t intervals, a permutation test, Holm.

Images of one patient are alike, so the patient is the unit of everything here: patients are resampled, and in tests all
of a patient's images change sides together. What was not measured is NaN, and left out. What is said is about *these*
models on other patients; how much another order or seed changes is the spread over runs, and not in an interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any, Literal, TypeAlias

import numpy as np

MISSING = math.nan
MIN_PATIENTS = 10
"""Below this many in a site a bootstrap's interval is too narrow: Student's t with a jackknife is taken."""
FEWEST = 3
"""Below this many in a site there is no interval."""
MIN_PAIRS = 6
"""With five pairs no two-sided p is under 0.05, whatever was measured."""
LEVEL, RESAMPLES = 0.95, 2000
PERMUTATIONS = 9999
"""Random exchanges of a test; if there are no more than this in all, 2 to the number of patients, all are made."""
NOISE = 1e-9
"""Two differences closer than this are equal: sums made in another order differ in their last digits."""
BLOCK = 2**22
"""How many patients are drawn at once; this bounds the memory."""
INTERVAL = (
    f"{LEVEL:.0%} intervals of the mean over samples, for other patients: BCa (bias-corrected and accelerated) from "
    f"{RESAMPLES} bootstrap resamples of whole patients, or percentile where all are equal; with fewer than "
    f"{MIN_PATIENTS} patients Student's t with a jackknife over patients, which may pass the ends of what a metric can "
    f"be; with fewer than {FEWEST} none"
)
"""How :func:`describe` makes them, in words."""

Method = Literal["BCa", "percentile", "t", "none"]
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Sums: TypeAlias = "tuple[Floats, Floats]"
"""For each patient of a site, the sum and number of its measured values, ``(patients, cells)`` each."""
Join: TypeAlias = "Callable[[Floats], Floats]"
"""Combines the means of cells: ``(…, sites, cells)`` to ``(…)``. A cell without a value is NaN."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean: NaN if nothing was measured.
        low, high: NaN if there are too few patients.
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
        difference: mean of a − mean of b, the means that the table shows; ``low`` and ``high`` its interval, made by
            ``method``.
        p: two-sided, of a permutation test of ``difference``; NaN for fewer than :data:`MIN_PAIRS` pairs.
        effect: ``difference`` divided by the sum of every patient's absolute contribution to it: 1 if a is better for
            every patient, −1 if b is, 0 if gains and losses are equal. It has the sign of ``difference``.
    """

    pairs: int
    difference: float
    low: float
    high: float
    p: float
    effect: float
    method: Method


def interval(
    values: Sequence[float],
    patients: Sequence[Hashable],
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    strata: Sequence[Hashable] | None = None,
) -> Interval:
    """Interval of the mean over samples; patients are resampled with all their samples (see :func:`bounds`).

    Args:
        values: one per sample; NaN is left out.
        patients: whose sample it is.
        strata: which part (site) a sample belongs to: the mean is then over parts, and patients are drawn within each.

    Raises:
        ValueError: lengths differ, or ``level`` is not between 0 and 1.
    """
    parts = _clusters(values, patients, strata)
    return bounds(parts, lambda cells: cells.mean(axis=(-2, -1)), seed, level, resamples)


def bounds(parts: Sequence[Sums], join: Join, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Interval of ``join`` of each cell's mean at each site; patients are resampled within their site.

    With :data:`MIN_PATIENTS` at every site the cluster bootstrap, BCa (Efron 1987, 10.2307/2289144) with a jackknife
    over patients: that of ``scipy.stats.bootstrap`` with the same generator where each patient has one sample; where
    nothing varies its percentiles. With fewer Student's t with the jackknife's standard error and the degrees of
    freedom of Satterthwaite (1946, 10.2307/3002019): for one site and equally many samples a patient that is the usual
    t interval of the patients' means. With fewer than :data:`FEWEST` none. A cell (a rare class) of which a resample
    has no patient keeps its mean there: without it the resample would be of something else.

    Raises:
        ValueError: ``level`` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: must be between 0 and 1")
    if not parts:
        return Interval(MISSING, MISSING, MISSING, "none")
    whole = np.stack([_ratio(total.sum(axis=0), count.sum(axis=0)) for total, count in parts])
    mean, fewest = float(join(whole)), min(len(total) for total, _ in parts)
    if fewest < FEWEST or math.isnan(mean):
        return Interval(mean, MISSING, MISSING, "none")
    pulls = [_pulls(place, part, whole, join) for place, part in enumerate(parts)]
    if fewest < MIN_PATIENTS:
        half = _half(pulls, level)
        return Interval(mean, mean - half, mean + half, "t")
    rng = np.random.default_rng(seed)
    cells = np.stack([_resampled(rng, *part, resamples) for part in parts], axis=1)
    drawn = join(_filled(cells, whole))
    tails, method = _tails(pulls, drawn, mean, level)
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


def paired(parts: Sequence[Sums], join: Join, seed: int = 0, level: float = LEVEL) -> Comparison:
    """Compare what was measured under a and b: ``join`` of a's cells minus ``join`` of b's.

    The interval is that of :func:`bounds`. The test exchanges a and b for whole patients, within their site: if the two
    were alike, every such exchange would be as likely as what was observed (Fisher 1935, The Design of Experiments,
    §21). p is the share of exchanges whose difference is at least as large, of all of them if there are at most
    :data:`PERMUTATIONS`, else of that many random ones and the observed one (Phipson and Smyth 2010,
    10.2202/1544-6115.1585). For one site with one sample per patient it is ``scipy.stats.permutation_test`` of the mean
    difference, ``permutation_type="samples"``. Without any difference, p is 1.

    Args:
        parts: for each site, as :data:`Sums`, ``(patients, 2 × cells)``: first a's cells, then the same number of b's.
        join: for one side's cells.
    """
    parts = [_of_both(part) for part in parts]
    pairs = sum(_measured_twice(count) for _, count in parts)
    if not pairs:
        return Comparison(0, MISSING, MISSING, MISSING, MISSING, MISSING, "none")

    def apart(cells: Floats) -> Floats:
        a, b = np.split(cells, 2, axis=-1)
        difference: Floats = join(a) - join(b)
        return difference

    about = bounds(parts, apart, seed, level)
    p = _permuted(parts, apart, about.mean, seed) if pairs >= MIN_PAIRS else MISSING
    return Comparison(pairs, about.mean, about.low, about.high, p, _share(parts, apart, about.mean), about.method)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979, jstor.org/stable/4615733), in the order given.

    A missing value stays missing and does not count as a test.
    """
    there = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    adjusted, highest = [MISSING] * len(ps), 0.0
    for rank, (p, place) in enumerate(there):
        highest = max(highest, min(1.0, (len(there) - rank) * p))
        adjusted[place] = highest
    return adjusted


def _clusters(
    values: Sequence[float], patients: Sequence[Hashable], strata: Sequence[Hashable] | None = None
) -> list[Sums]:
    """For each stratum: sum and number of each patient's samples, in one cell. Sorted: the input's order is nothing."""
    strata = [None] * len(values) if strata is None else strata
    if not len(values) == len(patients) == len(strata):
        raise ValueError(f"{len(values)} values, {len(patients)} patients and {len(strata)} strata: lengths differ")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for value, patient, stratum in zip(values, patients, strata, strict=True):
        if not math.isnan(value):
            found[repr(stratum)][repr(patient)].append(float(value))
    return [
        (
            np.array([[math.fsum(by[name])] for name in sorted(by)]),
            np.array([[len(by[name])] for name in sorted(by)], float),
        )
        for _, by in sorted(found.items())
    ]


def _ratio(total: Floats, count: Floats) -> Floats:
    """NaN where nothing was measured."""
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(count > 0, total, MISSING) / count
    return means


def _filled(cells: Floats, whole: Floats) -> Floats:
    filled: Floats = np.where(np.isnan(cells), whole, cells)
    return filled


def _resampled(rng: np.random.Generator, total: Floats, count: Floats, resamples: int) -> Floats:
    """Each cell's mean in each resample, ``(resamples, cells)``."""
    size, found = len(total), []
    for start in range(0, resamples, step := max(1, BLOCK // size)):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
        # how often each patient was drawn in each row; a row's sums are then one product of matrices
        times = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(float)
        found.append(_ratio(times @ total, times @ count))
    return np.concatenate(found)


def _pulls(place: int, part: Sums, whole: Floats, join: Join) -> Floats:
    """What leaving out each patient of a site changes, ``(patients,)``: the jackknife."""
    total, count = part
    cells = np.repeat(whole[None], len(total), axis=0)
    cells[:, place] = _ratio(total.sum(axis=0) - total, count.sum(axis=0) - count)
    without = join(_filled(cells, whole))
    # Efron's influence of each patient, (n - 1)(mean of theta_(i) - theta_(i)), over n, so that sites of different
    # sizes add up: n / (n - 1) times their sum of squares is a site's share of the jackknife's variance.
    pulls: Floats = (len(total) - 1) * (without.mean() - without) / len(total)
    return pulls


def _half(pulls: Sequence[Floats], level: float) -> float:
    """Half the width of the t interval."""
    from scipy.stats import t

    # The jackknife's variance of each site, n / (n - 1) sum(pull^2), and its degrees of freedom. The variances of
    # independent sites add up; Satterthwaite's degrees are those of the chi-square with the sum's mean and variance.
    parts = [(len(pull) / (len(pull) - 1) * float((pull**2).sum()), len(pull) - 1) for pull in pulls]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    free = variance**2 / sum(part**2 / own for part, own in parts)
    return float(t.ppf((1 + level) / 2, free)) * math.sqrt(variance)


def _tails(pulls: Sequence[Floats], drawn: Floats, mean: float, level: float) -> tuple[Floats, Method]:
    """Which quantiles of the resamples are the bounds."""
    from scipy.special import ndtr, ndtri

    plain = np.array([(1 - level) / 2, (1 + level) / 2])
    near = 1e-12 * float(np.abs(drawn).max())  # the noise of adding in another order
    # z0: how far the resamples' middle is from the estimate. Half of what is equal to it counts as below: with discrete
    # values many are, and neither "<" nor "<=" alone is without a bias of its own.
    bias = ndtri(((drawn < mean - near).mean() + (drawn <= mean + near).mean()) / 2)
    skew = _acceleration(pulls)
    z = bias + ndtri(plain)
    with np.errstate(invalid="ignore"):
        tails = ndtr(bias + z / (1 - skew * z))  # BCa: z0 + (z0 + z) / (1 - a (z0 + z))
    return (tails, "BCa") if np.isfinite(tails).all() else (plain, "percentile")


def _acceleration(pulls: Sequence[Floats]) -> float:
    """Of BCa, for several samples as in Davison and Hinkley (1997), eq. 5.26; NaN where no patient matters."""
    cubes, squares = (sum(float((pull**power).sum()) for pull in pulls) for power in (3, 2))
    return cubes / (6 * squares**1.5) if squares > 0 else MISSING


def _of_both(part: Sums) -> Sums:
    """Without the patients of whom nothing was measured."""
    total, count = part
    there = count.any(axis=1)
    return total[there], count[there]


def _measured_twice(count: Floats) -> int:
    """Patients of whom something was measured under both."""
    return sum(bool(a.any() and b.any()) for a, b in zip(*np.split(count, 2, axis=1), strict=True))


def _permuted(parts: Sequence[Sums], apart: Join, observed: float, seed: int) -> float:
    """p of the observed difference."""
    patients = sum(len(total) for total, _ in parts)
    every = 2**patients <= PERMUTATIONS
    larger, made = (0, 0) if every else (1, 1)  # the observed one is one of them
    for swaps in _all_swaps(patients) if every else _random_swaps(patients, seed):
        found = np.abs(_exchanged(parts, apart, swaps))
        larger, made = larger + int((found >= abs(observed) - NOISE).sum()), made + len(found)
    return larger / made


def _all_swaps(patients: int) -> Iterator[Floats]:
    # the binary digits of 0, 1, …: digit k says whether patient k is exchanged
    yield (np.arange(2**patients)[:, None] >> np.arange(patients) & 1).astype(float)


def _random_swaps(patients: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for start in range(0, PERMUTATIONS, step := max(1, BLOCK // patients)):
        yield rng.integers(0, 2, (min(step, PERMUTATIONS - start), patients)).astype(float)


def _exchanged(parts: Sequence[Sums], apart: Join, swaps: Floats) -> Floats:
    """The difference where a and b are exchanged for the patients marked 1: ``(draws, patients)`` to ``(draws)``."""
    sites, start = [], 0
    for part in parts:
        here = swaps[:, start : start + len(part[0])]
        start += len(part[0])
        sums = ((1 - here) @ values + here @ np.roll(values, values.shape[1] // 2, axis=1) for values in part)
        sites.append(_ratio(*sums))
    whole = np.stack([_ratio(total.sum(axis=0), count.sum(axis=0)) for total, count in parts])
    return apart(_filled(np.stack(sites, axis=1), whole))


def _share(parts: Sequence[Sums], apart: Join, observed: float) -> float:
    """The effect. Exchanging one patient changes the difference by twice what that patient adds to it."""
    if abs(observed) <= NOISE:
        return 0.0
    adds = (observed - _exchanged(parts, apart, np.eye(sum(len(total) for total, _ in parts)))) / 2
    return float(np.clip(observed / max(np.abs(adds).sum(), NOISE), -1, 1))
