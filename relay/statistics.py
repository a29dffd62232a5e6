"""How sure a mean is, and whether two strategies differ: bootstrap and t intervals, a signed-rank test, Holm.

Images of one patient are alike, so the patient is the unit of everything here: patients are resampled, and tests are
made of one number a patient. What was not measured is NaN, and left out. What is said is about *these* models on other
patients; how much another order or seed changes is the spread over runs, and not in an interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
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
BLOCK = 2**22
"""Patients that are drawn at once: it bounds memory."""
INTERVAL = (
    f"{LEVEL:.0%} intervals of the mean over samples, for other patients: BCa (bias-corrected and accelerated) from "
    f"{RESAMPLES} bootstrap resamples of whole patients, or percentile where all are equal; with fewer than "
    f"{MIN_PATIENTS} patients Student's t with a jackknife over patients, which may pass the ends of what a metric can "
    f"be; with fewer than {FEWEST} none"
)
"""How :func:`describe` makes them, in words."""

Method = Literal["BCa", "percentile", "t", "none"]
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Pairs: TypeAlias = Mapping[tuple[Hashable, ...], float]
"""Key → value; the first part of a key names the patient."""
Part: TypeAlias = "tuple[Floats, Floats]"
"""Of a site's patients: sum and number of what was measured, each ``(patients, cells)``."""
Join: TypeAlias = "Callable[[Floats], Floats]"
"""What the cells' means make together: ``(…, sites, cells)`` to ``(…)``. A cell without a value is NaN."""


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
        difference: mean over patients of a − b; ``low`` and ``high`` its interval, made by ``method``.
        p: two-sided, of Wilcoxon's signed-rank test; NaN for fewer than :data:`MIN_PAIRS` pairs.
        effect: matched-pairs rank-biserial correlation, −1 (b is better in every pair) to 1 (a is).
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
    """Interval of the mean over samples, patients drawn with all their samples: see :func:`bounds`.

    Args:
        values: one a sample; NaN is left out.
        patients: whose sample it is.
        strata: which part (site) a sample belongs to: the mean is then over parts, and patients are drawn within each.

    Raises:
        ValueError: lengths differ, or ``level`` is not between 0 and 1.
    """
    parts = _clusters(values, patients, strata)
    return bounds(parts, lambda cells: cells.mean(axis=(-2, -1)), seed, level, resamples)


def bounds(parts: Sequence[Part], join: Join, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Interval of what ``join`` makes of each cell's mean at each site, patients drawn within their site.

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


def paired(a: Pairs, b: Pairs, seed: int = 0, level: float = 0.95) -> Comparison:
    """Compare what was measured under both a and b, one number a patient: the mean of its differences.

    Wilcoxon's signed-rank test (1945, 10.2307/3001968), two-sided; pairs without a difference take part in the ranking
    and then drop out (Pratt 1959, 10.1080/01621459.1959.10501526); no difference at all is p = 1. The effect is the
    rank sum of the pairs where a is better minus that where b is, over both (Kerby 2014, 10.2466/11.IT.3.1).
    A difference is rounded to 9 decimals: the noise of adding is none.
    """
    apart: dict[Hashable, list[float]] = defaultdict(list)
    for key in a.keys() & b.keys():
        if not math.isnan(gap := a[key] - b[key]):
            apart[key[0]].append(gap)
    differences = np.sort([round(math.fsum(found) / len(found), 9) + 0.0 for found in apart.values()])
    about = interval(differences.tolist(), range(len(differences)), seed, level)
    p, effect = _signed_rank(differences)
    return Comparison(len(differences), about.mean, about.low, about.high, p, effect, about.method)


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


def _clusters(
    values: Sequence[float], patients: Sequence[Hashable], strata: Sequence[Hashable] | None = None
) -> list[Part]:
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
        times = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(float)
        found.append(_ratio(times @ total, times @ count))
    return np.concatenate(found)


def _pulls(place: int, part: Part, whole: Floats, join: Join) -> Floats:
    """What leaving out each patient of a site changes, ``(patients,)``: the jackknife."""
    total, count = part
    cells = np.repeat(whole[None], len(total), axis=0)
    cells[:, place] = _ratio(total.sum(axis=0) - total, count.sum(axis=0) - count)
    without = join(_filled(cells, whole))
    pulls: Floats = (len(total) - 1) * (without.mean() - without) / len(total)
    return pulls


def _half(pulls: Sequence[Floats], level: float) -> float:
    """Half the width of the t interval."""
    from scipy.stats import t

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
    bias = ndtri(((drawn < mean - near).mean() + (drawn <= mean + near).mean()) / 2)
    skew = _acceleration(pulls)
    z = bias + ndtri(plain)
    with np.errstate(invalid="ignore"):
        tails = ndtr(bias + z / (1 - skew * z))
    return (tails, "BCa") if np.isfinite(tails).all() else (plain, "percentile")


def _acceleration(pulls: Sequence[Floats]) -> float:
    """Of BCa, for several samples as in Davison and Hinkley (1997), eq. 5.26; NaN where no patient matters."""
    cubes, squares = (sum(float((pull**power).sum()) for pull in pulls) for power in (3, 2))
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
