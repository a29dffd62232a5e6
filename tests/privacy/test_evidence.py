"""Numbers from scores: against scipy, against simulation, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from relay.bundle import audits
from relay.privacy import controls, evidence
from relay.privacy.attacks import Shadows, lira, rmia
from relay.privacy.training_shadows import halves

RNG = np.random.default_rng(0)
MEMBER = np.arange(30) < 14


def test_auc_and_p_are_those_of_mann_and_whitney() -> None:
    score = RNG.normal(size=30) + 0.7 * MEMBER
    found = mannwhitneyu(score[MEMBER], score[~MEMBER], alternative="greater")
    assert evidence.auc(score, MEMBER) == pytest.approx(found.statistic / (14 * 16))
    assert evidence.adjusted({"it": score}, MEMBER, 0)["it"] == pytest.approx(found.pvalue, abs=0.02)


def test_many_like_attacks_cost_little() -> None:
    score = RNG.normal(size=30) + MEMBER
    alone = evidence.adjusted({0: score}, MEMBER, 0)[0]
    assert evidence.adjusted(dict.fromkeys(range(20), score), MEMBER, 0)[0] == alone
    others = {k: RNG.normal(size=30) for k in range(1, 20)}
    assert evidence.adjusted({0: score, **others}, MEMBER, 0)[0] > alone


def test_an_interval_has_a_width_also_at_the_end() -> None:
    low, high = evidence.auc_interval(1.0, 10, 10)
    assert 0.75 < low < 0.95
    assert high == pytest.approx(1, abs=1e-6)
    low, high = evidence.auc_interval(0.6, 100, 100)
    assert (low, high) == (pytest.approx(0.52, abs=0.01), pytest.approx(0.67, abs=0.01))


def test_few_false_alarms_need_many_others() -> None:
    score, member = np.arange(300.0), np.arange(300) >= 150
    assert evidence.tpr(score, member, 0.01) == 1
    assert evidence.tpr(score, member, 0.001) is None
    assert evidence.tpr(score[140:160], member[140:160], 0.01) is None


def test_who_calls_all_alike_is_right_half_the_time() -> None:
    assert evidence.right(np.zeros(30), MEMBER) == pytest.approx(0.5)
    assert evidence.right(MEMBER.astype(float), MEMBER) == 1
    assert evidence.auc(np.zeros(30), MEMBER) == 0.5


def test_what_can_be_said_with_few_patients() -> None:
    assert not evidence.reachable(4, 4, audits.LEVEL)
    assert evidence.reachable(5, 5, audits.LEVEL)
    assert evidence.detectable(500, 500, audits.LEVEL) < 0.6 < evidence.detectable(20, 20, audits.LEVEL)


def test_everyone_is_in_half_of_the_shadow_models() -> None:
    inside = np.stack(halves(7, 6, seed=1))
    assert (inside.sum(0) == 3).all()
    assert set(inside.sum(1)) == {3, 4}


def test_attacks_find_what_is_there() -> None:
    hard = RNG.normal(size=40)  # how hard a patient is differs more than whether it was trained on
    member = np.arange(40) % 2 == 0
    inside = np.stack(halves(40, 8, seed=0))
    made = np.exp(hard - 0.5 * inside + 0.1 * RNG.normal(size=inside.shape))
    loss = np.exp(hard - 0.5 * member + 0.1 * RNG.normal(size=40))
    shadows = Shadows(made, inside, 1.0)
    assert evidence.auc(-loss, member) < 0.8
    assert evidence.auc(lira(loss, shadows), member) > 0.95
    assert evidence.auc(rmia(loss, shadows), member) > 0.85


def test_a_copy_is_found() -> None:
    assert not any(controls._memory(seed, False) for seed in range(10))
    assert all(controls._memory(seed, True) for seed in range(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", controls.CONTROLS)
def test_power_and_size(name: str) -> None:
    leaks, flagged = controls.CONTROLS[name]
    found = [flagged(seed) for seed in range(20)]
    assert sum(found) >= 19 if leaks else sum(found) <= 1
