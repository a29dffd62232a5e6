"""What Opacus says is spent, as another library reckons it: Google's dp-accounting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting import privacy_loss_distribution as pld
from scipy.stats import norm

from relay.errors import UserError
from relay.noise import Mechanism, epsilon_of, noise_for


def by_google(mechanisms: list[Mechanism], delta: float, grid: float = 2e-4) -> float:
    """Epsilon by dp-accounting's privacy loss distributions. Version 0.0.2 knows no sampling, so the two output
    distributions of a sampled step are given to it cut into small bins, both ways: to remove a patient, and to add."""
    found = []
    for remove in (True, False):
        whole = pld.PrivacyLossDistribution.identity(value_discretization_interval=grid)
        for each in mechanisms:
            edges = np.linspace(-12 * each.noise, 12 * each.noise + 1, 40_000)
            without = np.diff(norm.cdf(edges, 0, each.noise))
            taken = (1 - each.rate) * without + each.rate * np.diff(norm.cdf(edges, 1, each.noise))
            upper, lower = (taken, without) if remove else (without, taken)
            logs = [{i: math.log(p) for i, p in enumerate(side) if p > 0} for side in (lower, upper)]
            one = pld.PrivacyLossDistribution.from_two_probability_mass_functions(
                *logs, value_discretization_interval=grid, log_mass_truncation_bound=-40
            )
            whole = whole.compose(one.self_compose(each.steps))
        found.append(float(whole.get_epsilon_for_delta(delta)))
    return max(found)


@pytest.mark.parametrize("mechanisms", [[Mechanism("a", 1.0, 0.1, 100)], [Mechanism("a", 3.0, 1.0, 1)]])
def test_another_library_reckons_the_same(mechanisms: list[Mechanism]) -> None:
    exact = by_google(mechanisms, 1e-5)
    assert exact * 0.99 <= epsilon_of(mechanisms, 1e-5, "prv") <= exact * 1.03
    assert exact * 0.99 <= epsilon_of(mechanisms, 1e-5, "rdp") <= exact * 1.3


def test_the_noise_that_is_chosen_is_enough_and_hardly_more() -> None:
    noise = noise_for(2.0, 1e-5, 0.1, 50, (), "rdp")
    assert epsilon_of([Mechanism("a", noise, 0.1, 50)], 1e-5, "rdp") <= 2.0
    assert epsilon_of([Mechanism("a", noise * 0.99, 0.1, 50)], 1e-5, "rdp") > 2.0


def test_a_small_epsilon_has_its_noise() -> None:
    assert noise_for(0.1, 1e-5, 0.1, 50, (), "rdp") > 10


def test_no_noise_is_enough_where_others_cost_as_much() -> None:
    with pytest.raises(UserError, match=r"no noise is enough for epsilon 1 .*, with a release beside it"):
        noise_for(1.0, 1e-5, 0.1, 10, [Mechanism("a release", 0.5, 1.0, 1)], "rdp")
