"""Differences of weights, and weights with differences added: exact where the types allow it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from relay.errors import UserError
from relay.models.arithmetic import combined, difference, distances, inexact

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def weights(seed: int) -> dict[str, Tensor]:
    """A tensor of every type that a net is likely to have, with a scalar and an empty one."""
    random = torch.Generator().manual_seed(seed)
    made = {str(dtype): torch.randn(3, 5, generator=random).mul(9).abs().to(dtype) for dtype in TYPES}
    return made | {"scalar": torch.randn((), generator=random), "empty": torch.zeros(0, 3)}


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else repr(tensor).encode()


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_scale_0_is_the_base_and_scale_1_the_other_bit_by_bit(one: int, other: int) -> None:
    a, b = weights(one), weights(other)
    change = difference(a, b)
    for scale, wanted in ((0.0, a), (1.0, b)):
        made = combined(a, [change], scale)
        assert {name: (t.dtype, bits(t)) for name, t in made.items()} == {
            n: (t.dtype, bits(t)) for n, t in wanted.items()
        }
    assert inexact(a, b, change) == 0


def test_even_zeros_keep_their_sign_at_scale_0() -> None:
    base = {"w": torch.tensor([-0.0, 0.0, 1.0])}
    made = combined(base, [difference(base, {"w": torch.tensor([5.0, -7.0, 1.0])})], 0)
    assert bits(made["w"]) == bits(base["w"])


def test_values_too_far_apart_come_back_only_nearly_and_are_counted() -> None:
    a, b = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([1e-20, 2**-20])}
    change = difference(a, b)
    assert combined(a, [change], 1.0)["w"].tolist() == [0.0, 2**-20]
    assert inexact(a, b, change) == 1


@pytest.mark.parametrize("scale", [-1.0, 0.25, 3.0])
def test_a_scaled_sum_of_differences_is_what_it_says(scale: float) -> None:
    a, b, c = ({"w": weights(seed)["torch.float32"]} for seed in (1, 2, 3))
    made = combined(a, [difference(a, b), difference(a, c)], scale)["w"]
    by_hand = a["w"].double() + scale * (b["w"].double() + c["w"].double() - 2 * a["w"].double())
    assert torch.allclose(made.double(), by_hand, rtol=1e-6)


def test_whole_numbers_are_rounded_and_stay_in_range() -> None:
    a = {"n": torch.tensor([10, 250], dtype=torch.uint8), "b": torch.tensor([True, False])}
    b = {"n": torch.tensor([13, 255], dtype=torch.uint8), "b": torch.tensor([False, True])}
    change = difference(a, b)
    assert combined(a, [change], 0.5)["n"].tolist() == [12, 252]
    twice = combined(a, [change], 2)
    assert twice["n"].tolist() == [16, 255]
    assert twice["b"].tolist() == [False, True]


def test_what_can_not_be_subtracted_is_refused_by_name() -> None:
    a = {"w": torch.ones(2, 3), "bias": torch.ones(2)}
    for other, says in (
        ({"w": torch.ones(3, 2), "bias": torch.ones(2)}, r"w: \(2, 3\) torch.float32 and \(3, 2\)"),
        ({"w": torch.ones(2, 3)}, "bias: .* and missing"),
        ({"w": torch.ones(2, 3).double(), "bias": torch.ones(2)}, "torch.float64"),
    ):
        with pytest.raises(UserError, match=says):
            difference(a, other)
    with pytest.raises(UserError, match="second model is not finite"):
        difference(a, a | {"bias": torch.tensor([1.0, float("nan")])})
    complex_ones = {"w": torch.ones(2, dtype=torch.complex64)}
    with pytest.raises(UserError, match="w is complex"):
        difference(complex_ones, complex_ones)


def test_what_can_not_be_added_or_would_be_no_model_is_refused() -> None:
    a = {"norm.running_var": torch.tensor([1.0, 2.0])}
    change = difference(a, {"norm.running_var": torch.tensor([0.1, 2.0])})
    with pytest.raises(UserError, match=r"running_var is negative"):
        combined(a, [change], 2.0)
    with pytest.raises(UserError, match="not finite"):
        combined(a, [change], 1e300)
    with pytest.raises(UserError, match=r"torch.float64 and missing"):
        combined(a, [{}], 1.0)
    with pytest.raises(UserError, match=r"torch.float64 and .* torch.float32"):
        combined(a, [a], 1.0)


def test_distances_are_norms_of_what_both_have() -> None:
    a = {"w": torch.full((4,), 3.0), "n": torch.tensor([1]), "x": torch.ones(2)}
    found = [*distances(a, {"w": torch.full((4,), 4.5), "n": torch.tensor([2]), "x": torch.ones(3)})]
    assert found == [("w", 4, pytest.approx(3.0), pytest.approx(6.0))]
