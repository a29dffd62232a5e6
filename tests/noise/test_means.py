"""A private mean: its noise is what epsilon and delta need, and a patient moves it no more than that is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.integrate import trapezoid
from scipy.stats import norm
from torch import Tensor

from relay.noise import epsilon_of_strength
from relay.noise.means import PLANS, REACH, WITHIN, Axes, _delta, _step, _steps, noise_of, noisy_mean, strength

AXES = Axes.of((1, 4, 3), 0)


def vectors(seed: int, many: int = 40, size: int = 12) -> Tensor:
    return torch.rand(many, size, generator=torch.Generator().manual_seed(seed)) * 0.4 - 0.5


@given(st.floats(0.01, 50), st.sampled_from([0.3, 1e-3, 1e-5, 1e-9]))
def test_the_strength_gives_epsilon_and_delta(epsilon: float, delta: float) -> None:
    m = strength(epsilon, delta)
    assert _delta(epsilon, m) == pytest.approx(delta, rel=1e-5)
    assert _delta(epsilon, m * 1.01) > delta
    assert epsilon_of_strength(m, delta) == pytest.approx(epsilon, rel=1e-3)


@pytest.mark.parametrize(("epsilon", "sigma"), [(1.0, 3.7306), (2.0, 1.9938), (8.0, 0.6002)])
def test_the_strength_is_that_of_the_analytic_gaussian_mechanism(epsilon: float, sigma: float) -> None:
    """By hand: over the region where one of two Gaussians is more than exp(epsilon) times as likely, the difference."""
    m = strength(epsilon, 1e-5)
    edge = epsilon / m + m / 2
    x = np.linspace(edge, edge + 40, 400_001)
    gain = norm.pdf(x, m) - np.exp(epsilon) * norm.pdf(x)
    assert float(trapezoid(gain, x)) == pytest.approx(1e-5, rel=1e-3)
    assert 1 / m == pytest.approx(sigma, abs=1e-3)


@given(st.integers(0, 1000), st.floats(0.05, 3), st.floats(-50, 50))
def test_to_replace_a_patient_moves_a_step_by_the_clipped_share_at_most(
    seed: int, radius: float, extreme: float
) -> None:
    """Whatever the centre is."""
    before, centre = vectors(seed), vectors(seed + 1, 1)[0].double()
    after = before.clone()
    after[3] = extreme
    moved = _step(after.double(), centre, radius) - _step(before.double(), centre, radius)
    assert moved.norm() <= 2 * radius / len(before) + 1e-9


@pytest.mark.parametrize("grid", [(4, 3, 3), (2, 1, 3), (1, 1, 1)])
def test_axes_turn_and_scale_and_turn_back(grid: tuple[int, ...]) -> None:
    axes = Axes.of(grid, 2)
    size = math.prod(grid) + 2
    found = vectors(1, 5, size)
    assert torch.allclose(axes.rows @ axes.rows.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(axes.back(axes.scaled(found)), found.double())
    assert float(axes.reach[:-2].square().mean()) == pytest.approx(1)
    if size > 3:
        flat, rough = torch.full((1, size), 0.5), 0.5 * (-1.0) ** torch.arange(size)[None]
        assert axes.scaled(flat).norm() < axes.scaled(rough).norm(), "what differs from number to number is clipped"


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_the_noise_is_as_large_as_the_budget_says(epsilon: float) -> None:
    """Numbers that are all zero: what is released is the noise of the last step."""
    axes, many = Axes.of((4, 3, 3), 2), 4000
    found = torch.stack([noisy_mean(torch.zeros(many, 38), axes, strength(epsilon, 1e-5)).mean for _ in range(60)])
    noise = noise_of(many, axes, strength(epsilon, 1e-5))
    assert torch.allclose(found.std(0), noise, rtol=0.4)
    m, root = strength(epsilon, 1e-5), axes.norm
    radius = REACH * root
    for share in PLANS[len(_steps(many, axes, strength(epsilon, 1e-5), REACH)) - 1]:
        step = 2 * radius / (many * m * math.sqrt(share))
        radius = math.hypot(WITHIN * root, step * math.sqrt(38))
    scaled = axes.scaled(found).std(0)
    assert float(scaled.mean()) == pytest.approx(step, rel=0.1), "alike in all scaled coordinates"


def test_with_patients_enough_noise_hardly_matters() -> None:
    found = noisy_mean(vectors(1, 20000), AXES, strength(2.0, 1e-5))
    assert torch.allclose(found.mean, vectors(1, 20000).double().mean(0), atol=0.01)


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_spends_the_budget_and_no_more(plan: tuple[float, ...]) -> None:
    assert sum(plan) == pytest.approx(1)


def test_steps_are_as_many_as_have_the_least_noise() -> None:
    found = [_steps(many, AXES, strength(8.0, 1e-5), REACH) for many in (4, 11, 25)]
    assert [len(steps) for steps in found] == [1, 2, 3]
    alone = 2 * REACH * AXES.norm / (25 * strength(8.0, 1e-5))
    assert found[-1][-1][1] < alone


def test_noise_is_new_every_time_and_does_not_come_from_a_seed() -> None:
    torch.manual_seed(1)
    first = noisy_mean(vectors(1), AXES, strength(1.0, 1e-5))
    torch.manual_seed(1)
    assert not torch.equal(first.mean, noisy_mean(vectors(1), AXES, strength(1.0, 1e-5)).mean)


def test_what_is_released_is_a_description_however_much_noise_there_is() -> None:
    found = noisy_mean(vectors(1, 2), AXES, strength(1e-6, 1e-12))
    assert found.mean.abs().max() <= 1
    assert found.noise.min() > 1e3
