"""Intervals, tests and Holm: against scipy where it has them, else against numbers worked out by hand."""

from __future__ import annotations

import math
import sys
from dataclasses import astuple
from subprocess import run
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

from relay import statistics
from relay.statistics import MIN_PAIRS, MIN_PATIENTS, Comparison, holm, interval, paired

NAN = math.nan
RNG = np.random.default_rng(5)


def names(count: int) -> list[str]:
    return [f"p{place:03}" for place in range(count)]


def one_each(values: Any) -> dict[tuple[str, str], float]:
    return {(name, "s"): float(value) for name, value in zip(names(len(values)), values, strict=True)}


# -- intervals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [MIN_PATIENTS, 60])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_one_sample_a_patient_is_scipys_bootstrap(count: int, level: float) -> None:
    values = RNG.beta(8, 2, count)
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=999,
        confidence_level=level,
        rng=np.random.default_rng(3),
    ).confidence_interval
    mine = interval(values.tolist(), names(count), 3, level, 999)
    assert mine.method == "BCa"
    assert mine.mean == pytest.approx(values.mean())
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_several_sites_are_scipys_bootstrap_of_several_samples() -> None:
    a, b = RNG.beta(8, 2, 12), RNG.beta(3, 3, MIN_PATIENTS)
    theirs = scipy.stats.bootstrap(
        (a, b),
        lambda x, y, axis: (x.mean(axis=axis) + y.mean(axis=axis)) / 2,
        n_resamples=500,
        rng=np.random.default_rng(9),
        vectorized=True,
    ).confidence_interval
    mine = interval([*a, *b], [*names(12), *names(10)], 9, resamples=500, strata=["a"] * 12 + ["b"] * 10)
    assert mine.mean == pytest.approx((a.mean() + b.mean()) / 2)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_patients_are_drawn_with_all_their_samples() -> None:
    """A hundred equal samples of each of twelve patients say as much as twelve samples, not as 1200."""
    values = RNG.beta(8, 2, 12)
    few = interval(values.tolist(), names(12), 1)
    many = interval(np.repeat(values, 100).tolist(), np.repeat(names(12), 100).tolist(), 1)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_patients_count_by_their_samples_in_the_mean() -> None:
    """The t interval is about the mean over samples, too: of 0, 0, 0 and 1, 1 it is 0.4."""
    found = interval([0.0, 0.0, 0.0, 1.0, 1.0], ["a", "a", "a", "b", "c"], 1)
    assert (found.mean, found.method) == (0.4, "t")
    assert (found.low + found.high) / 2 == pytest.approx(0.4)


def test_missing_is_left_out_and_two_patients_have_no_bounds() -> None:
    whole = interval([0.1, 0.5, 0.9], ["a", "b", "c"], 1)
    assert interval([0.1, NAN, 0.5, 0.9, NAN], ["a", "a", "b", "c", "d"], 1) == whole
    for few in (interval([0.2, 0.4, NAN], ["a", "a", "b"], 1), interval([0.2, 0.4], ["a", "b"], 1)):
        assert few.mean == pytest.approx(0.3)
        assert (math.isnan(few.low), math.isnan(few.high), few.method) == (True, True, "none")
    for nothing in (interval([NAN], ["a"], 1), interval([], [], 1)):
        assert math.isnan(nothing.mean)
        assert nothing.method == "none"


def test_values_without_spread_are_their_own_interval() -> None:
    found = interval([0.5] * 20, names(20), 1)
    assert (found.mean, found.low, found.high, found.method) == (0.5, 0.5, 0.5, "percentile")


def test_another_seed_is_another_draw_and_the_same_is_the_same() -> None:
    values = RNG.beta(8, 2, 30).tolist()
    assert interval(values, names(30), 1) == interval(values, names(30), 1)
    assert interval(values, names(30), 1) != interval(values, names(30), 2)


def test_t_interval_is_scipys_over_patients() -> None:
    means = np.array([0.2, 0.5, 0.9, 0.4])
    twice = [0.1, 0.3, 0.5, 0.5, 0.9, 0.9, NAN, 0.4, 0.4]
    found = interval(twice, ["a", "a", "b", "b", "c", "c", "c", "d", "d"], 1, 0.9)
    theirs = scipy.stats.t.interval(0.9, 3, means.mean(), scipy.stats.sem(means))
    assert found.mean == pytest.approx(means.mean())
    assert (found.low, found.high) == pytest.approx(theirs)
    assert found.method == "t"


def test_few_patients_of_two_sites_are_welchs_interval() -> None:
    a, b = RNG.beta(8, 2, 4), RNG.beta(3, 3, 7)
    found = interval([*a, *b], [*names(4), *names(7)], 1, strata=["a"] * 4 + ["b"] * 7)
    theirs = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.method == "t"
    assert found.high - found.low == pytest.approx((theirs.high - theirs.low) / 2)  # a mean of two, not a difference
    many = interval([*a, *RNG.beta(8, 2, 30)], [*names(4), *names(30)], 1, strata=["a"] * 4 + ["b"] * 30)
    assert many.method == "t"  # a bootstrap within four patients is too narrow, however many the other site has


@pytest.mark.parametrize("count", [3, 5, 9])
def test_intervals_of_few_patients_hold_the_truth(count: int) -> None:
    held = 0
    for draw in range(400):
        found = interval(np.random.default_rng(draw).beta(8, 2, count).tolist(), names(count), draw)
        held += found.low <= 0.8 <= found.high
    assert held / 400 >= 0.9


def test_draws_in_blocks_are_the_draws_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.beta(8, 2, 33).tolist()
    whole = interval(values, names(33), 4, resamples=101)
    monkeypatch.setattr(statistics, "BLOCK", 70)
    blocks = interval(values, names(33), 4, resamples=101)
    # processors sum in different orders: the last digit may differ
    assert astuple(blocks)[:3] == pytest.approx(astuple(whole)[:3], rel=1e-12)
    assert blocks.method == whole.method


def test_nine_of_ten_intervals_hold_the_truth() -> None:
    """The mean of a skewed thing, 40 patients with two alike samples each; 200 draws, seeded."""
    held = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        of_patient = rng.gamma(2.0, 1.0, 40)
        values = np.repeat(of_patient, 2) + rng.normal(0, 0.1, 80)
        found = interval(values.tolist(), np.repeat(names(40), 2).tolist(), draw, 0.9, 400)
        held += found.low <= 2.0 <= found.high
    assert 0.84 <= held / 200 <= 0.95


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_wrong_arguments_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        interval([0.5], ["a"], 1, level)
    with pytest.raises(ValueError, match="2 values, 1 patients"):
        interval([0.5, 0.6], ["a"], 1)


numbers = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 15)), min_size=1, max_size=40)


@given(numbers, st.integers(-1000, 1000), st.sampled_from([0.25, 2.0, 64.0]))
def test_intervals_move_and_stretch_with_the_values(found: list[tuple[int, int]], shift: int, scale: float) -> None:
    values, patients = [float(value) for value, _ in found], [patient for _, patient in found]
    plain = interval(values, patients, 4, resamples=50)
    moved = interval([value * scale + shift for value in values], patients, 4, resamples=50)
    wanted = [bound * scale + shift for bound in (plain.mean, plain.low, plain.high)]
    assert [moved.mean, moved.low, moved.high] == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    assert moved.method == plain.method


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 15)), min_size=1, max_size=40), st.randoms())
def test_the_order_of_the_input_is_nothing(found: list[tuple[float, int]], random: Any) -> None:
    mixed = list(found)
    random.shuffle(mixed)
    both = [interval([v for v, _ in rows], [p for _, p in rows], 4, resamples=50) for rows in (found, mixed)]
    assert repr(both[0]) == repr(both[1])
    about = both[0]
    assert math.isnan(about.low) == (about.method == "none")
    assert math.isnan(about.low) or about.low <= about.high
    if about.method in ("BCa", "percentile"):
        assert min(v for v, _ in found) - 1e-9 <= about.low
        assert about.high <= max(v for v, _ in found) + 1e-9


# -- two strategies ----------------------------------------------------------------------------------------------------

Site = tuple[list[float], list[float]]
"""Of each patient, what a and b have; NaN is missing."""


def over_sites(cells: Any) -> Any:
    return cells.mean(axis=(-2, -1))


def parts_of(*sites: Site) -> list[statistics.Sums]:
    """One sample a patient."""
    stacked = [np.array(site, float).T for site in sites]
    return [(np.nan_to_num(values), (~np.isnan(values)).astype(float)) for values in stacked]


def compared(*sites: Site, seed: int = 0) -> Comparison:
    return paired(parts_of(*sites), over_sites, seed)


def drawn(count: int, lead: float = 0.0, seed: int = 5) -> Site:
    rng = np.random.default_rng(seed)
    b = rng.beta(8, 2, count)
    return (b + rng.normal(lead, 0.05, count)).tolist(), b.tolist()


@pytest.mark.parametrize("count", [6, 9, 13])
def test_the_test_of_one_site_is_scipys(count: int) -> None:
    a, b = drawn(count, 0.03)
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    found = compared((a, b))
    assert found.pairs == count
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.low < found.difference < found.high


def test_many_patients_are_tested_by_random_exchanges() -> None:
    a, b = drawn(40, 0.015)
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=9999, rng=1
    )
    assert compared((a, b)).p == pytest.approx(theirs.pvalue, abs=0.02)
    assert compared(([1.0] * 40, [0.0] * 40)).p == 1 / 10_000


def test_every_site_counts_alike_in_difference_interval_and_test() -> None:
    """Six patients of one site gain 0.1, 18 of the other lose 0.02: pooled it is a gain of 0.01, in a table of 0.04."""
    small, large = ([0.6] * 6, [0.5] * 6), ([0.48] * 18, [0.5] * 18)
    found = compared(small, large)
    assert found.difference == pytest.approx((0.1 - 0.02) / 2)
    assert found.effect == pytest.approx((0.1 - 0.02) / (0.1 + 0.02))
    assert found.low <= found.difference <= found.high
    signs = np.array([1 if place < 6 else -1 for place in range(24)])
    flips = np.random.default_rng(1).choice([-1, 1], (20_000, 24)) * np.where(signs > 0, 0.1 / 6, 0.02 / 18) / 2
    assert found.p == pytest.approx((np.abs(flips.sum(axis=1)) >= 0.04 - 1e-9).mean(), abs=0.02)


def test_what_only_one_of_them_has_counts_in_its_mean_alone() -> None:
    found = compared(([0.9, NAN, 0.5, NAN], [0.7, 0.1, NAN, NAN]))
    assert found.pairs == 1
    assert found.difference == pytest.approx(0.7 - 0.4)
    assert math.isnan(found.p)


@pytest.mark.parametrize("pairs", [MIN_PAIRS - 1, MIN_PAIRS])
def test_too_few_pairs_have_no_p(pairs: int) -> None:
    found = compared((np.linspace(0.1, 0.6, pairs).tolist(), [0.0] * pairs))
    assert math.isnan(found.p) == (pairs < MIN_PAIRS)
    assert (found.effect, found.method) == (pytest.approx(1.0), "t")
    if pairs == MIN_PAIRS:
        assert found.p == pytest.approx(2 / 2**6)


def test_no_difference_at_all_is_p_of_one_and_nothing_is_missing() -> None:
    same = RNG.beta(8, 2, 10).tolist()
    assert compared((same, same)) == Comparison(10, 0.0, 0.0, 0.0, 1.0, 0.0, "percentile")
    nothing = compared((same, [NAN] * 10))
    assert nothing.pairs == 0
    assert all(math.isnan(x) for x in (nothing.difference, nothing.low, nothing.high, nothing.p, nothing.effect))


def test_the_noise_of_adding_is_no_difference() -> None:
    found = compared(([0.1 + 0.2] * 8, [0.3] * 8))
    assert (found.p, found.effect) == (1.0, 0.0)


patient = st.tuples(st.integers(0, 9), st.integers(0, 9))
sites = st.lists(st.lists(patient, min_size=1, max_size=5), min_size=1, max_size=3)


@settings(max_examples=50)
@given(sites)
def test_the_difference_is_that_of_the_means_and_everything_has_its_sign(values: list[list[tuple[int, int]]]) -> None:
    there = [([x / 9 for x, _ in site], [y / 9 for _, y in site]) for site in values]
    found, back = compared(*there), compared(*((b, a) for a, b in there))
    means = [np.mean([np.mean(site[side]) for site in there]) for side in (0, 1)]
    assert found.difference == pytest.approx(means[0] - means[1], abs=1e-12)
    assert np.sign(round(found.difference, 9)) == np.sign(found.effect)
    assert -1 <= found.effect <= 1
    assert (back.difference, back.effect) == pytest.approx((-found.difference, -found.effect), abs=1e-9)
    assert back.p == pytest.approx(found.p, nan_ok=True)


def test_without_a_difference_five_in_a_hundred_p_are_under_five_per_cent() -> None:
    """Two sites of unlike size and spread, 300 draws, seeded."""
    ps = np.array([compared(drawn(4, seed=n), drawn(8, seed=1000 + n)).p for n in range(300)])
    for level in (0.05, 0.2, 0.5):
        assert (ps <= level).mean() == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 300))


# -- Holm --------------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """Four tests: 4 × 0.01, 3 × 0.015, 2 × 0.03 = 0.06, 1 × 0.04 under 0.06."""
    assert holm([0.04, 0.01, 0.03, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_what_is_missing() -> None:
    found = holm([0.02, NAN, 0.03])
    assert (found[0], found[2]) == pytest.approx((0.04, 0.04))
    assert math.isnan(found[1])


@given(st.lists(st.floats(0, 1) | st.just(NAN), max_size=8))
def test_holm_keeps_the_order_and_never_makes_a_p_smaller(ps: list[float]) -> None:
    found = holm(ps)
    assert [math.isnan(p) for p in found] == [math.isnan(p) for p in ps]
    there = sorted((p, q) for p, q in zip(ps, found, strict=True) if not math.isnan(p))
    assert all(p <= q <= 1 for p, q in there)
    assert [q for _, q in there] == sorted(q for _, q in there)


def test_importing_it_imports_no_scipy() -> None:
    code = "import sys, relay.statistics; assert 'scipy' not in sys.modules and 'torch' not in sys.modules"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
