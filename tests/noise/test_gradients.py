"""DP-SGD's parts: no patient moves the sum by more than the clip, and the noise is as large as the account says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from relay.errors import UserError
from relay.nets.modules import set_norm
from relay.noise import Secret, clipped, mixing, noisy_mean_gradient


def silent(many: int) -> Any:
    return np.zeros(many)


def summed(net: nn.Module, patients: list[torch.Tensor], clip: float) -> torch.Tensor:
    """The clipped sum of these patients' gradients, without noise, as one vector."""
    losses = (net(images).square().mean() for images in patients)
    parts = noisy_mean_gradient(losses, list(net.parameters()), clip, 1.0, 1.0, silent)
    return torch.cat([part.flatten() for part in parts])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 5), st.floats(1e-3, 1e3), st.sampled_from([0.0, 1e-8, 1.0, 1e6, float("nan")])
)
def test_a_patient_moves_the_sum_by_no_more_than_the_clip(seed: int, many: int, clip: float, scale: float) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    patients = [torch.randn(1 + i, 3).double() for i in range(many)]
    odd = torch.randn(3, 3).double() * scale
    moved = summed(net, [*patients, odd], clip) - summed(net, patients, clip)
    assert float(moved.norm()) <= clip * (1 + 1e-9)
    assert moved.isfinite().all()


def test_a_patients_gradient_is_that_of_all_its_images_together() -> None:
    net, images = nn.Linear(3, 1), torch.randn(4, 3)
    net(images).square().mean().backward()  # type: ignore[no-untyped-call]
    whole = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    assert torch.allclose(summed(net, [images], 1e6), whole, atol=1e-6)
    assert clipped(whole.double(), 1e-3).norm() == pytest.approx(1e-3)


def test_a_step_without_patients_is_noise_alone() -> None:
    net, secret = nn.Linear(40, 50), Secret(b"k" * 32)
    made = noisy_mean_gradient([], list(net.parameters()), 2.0, 3.0, 4.0, lambda many: secret.normal(many, "noise", 1))
    drawn = torch.cat([part.flatten() for part in made])
    assert float(drawn.std()) == pytest.approx(2 * 3 / 4, rel=0.05)  # clip * noise / expected


def test_noise_is_normal_and_repeats_for_its_purpose_alone(tmp_path: Path) -> None:
    from scipy.stats import kstest

    secret = Secret.of(tmp_path / "noise.key")
    drawn = secret.normal(50_000, "noise", 3)
    assert kstest(drawn, "norm").pvalue > 1e-4
    assert kstest(secret.uniform(50_000, "who"), "uniform").pvalue > 1e-4
    assert (Secret.of(tmp_path / "noise.key").normal(50_000, "noise", 3) == drawn).all()
    assert abs(np.corrcoef(drawn, secret.normal(50_000, "noise", 4))[0, 1]) < 0.03
    assert (tmp_path / "noise.key").stat().st_mode & 0o077 == 0
    (tmp_path / "noise.key").write_bytes(b"short")
    with pytest.raises(UserError, match="damaged: it has 5 bytes"):
        Secret.of(tmp_path / "noise.key")


def test_layers_that_mix_patients_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.InstanceNorm2d(8))
    assert mixing(net) == ["1 (BatchNorm2d)"]
    set_norm(net, "group")
    assert mixing(net) == []
