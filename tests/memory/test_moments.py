"""What is released of a site: right, and bounded by the patient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from relay.memory.moments import divided, means, numbered, release
from relay.noise import shortened


def vectors(seed: int, many: int = 12, size: int = 5) -> Tensor:
    return torch.rand(many, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def names(many: int) -> list[str]:
    return [f"p{number}" for number in range(many)]


def test_it_is_mean_and_principal_components_as_numpy_has_them() -> None:
    found = release(vectors(1), names(12), 3, radius=10)
    plain = vectors(1).double().numpy()
    values, axes = np.linalg.eigh(np.cov(plain.T, bias=True))
    assert np.allclose(found.mean, plain.mean(0), atol=1e-6)
    assert np.allclose(found.spread, np.sqrt(values[::-1][:3]), atol=1e-6)
    for mine, theirs in zip(found.directions.numpy(), axes.T[::-1], strict=False):
        assert abs(mine @ theirs) == pytest.approx(1, abs=1e-5)


def test_every_patient_counts_alike_however_many_images_there_are() -> None:
    one, two = vectors(1, 1), vectors(2, 1)
    found = release(torch.cat([one, one, one, two]), ["a", "a", "a", "b"], 2, radius=10)
    assert torch.allclose(found.mean, torch.cat([one, two]).mean(0), atol=1e-6)


def moments(found: Tensor, patients: list[str], radius: float) -> tuple[Tensor, Tensor]:
    """The mean and the second moment behind a release, put together again from all directions."""
    made = release(found, patients, found.shape[1], radius)
    scaled = (made.directions * made.spread[:, None]).double()
    mean = made.mean.double()
    return mean, scaled.T @ scaled + mean[:, None] * mean


@given(st.integers(0, 1000), st.floats(0.1, 3), st.floats(-50, 50), st.integers(1, 4))
def test_to_replace_a_patient_moves_the_moments_by_the_clipped_share_at_most(
    seed: int, radius: float, extreme: float, images: int
) -> None:
    many = 10
    before = torch.cat([vectors(seed, many), vectors(seed + 1, images - 1)]) if images > 1 else vectors(seed, many)
    patients = [*names(many), *["p0"] * (images - 1)]
    after = before.clone()
    after[[index for index, name in enumerate(patients) if name == "p0"]] = extreme
    (mean, second), (moved, turned) = (moments(found, patients, radius) for found in (before, after))
    assert (moved - mean).norm() <= 2 * radius / many + 1e-6
    assert (turned - second).norm() <= math.sqrt(2) * radius**2 / many + 1e-5


def test_clipping_shortens_and_does_not_turn() -> None:
    long = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.allclose(shortened(long, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_the_mean_of_each_patient() -> None:
    found = means(vectors(1, 4), ["b", "a", "b", "c"])
    assert torch.allclose(found, torch.stack([vectors(1, 4)[rows].mean(0) for rows in ([1], [0, 2], [3])]).double())


def test_patients_are_numbered_by_name_and_compared_about_once_each() -> None:
    compared = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(1)
            return str.__eq__(self, other)

    names = [Name(f"p{k % 200:03}") for k in range(400)]
    assert numbered(names).tolist() == [k % 200 for k in range(400)]
    assert len(compared) < 3 * len(names)
    assert [len(own) for own in divided(vectors(1, 400), names)] == [2] * 200
    assert torch.equal(divided(vectors(1, 400), names)[7], vectors(1, 400)[[7, 207]])
