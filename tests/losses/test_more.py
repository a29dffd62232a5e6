"""Losses made of monai's, of numbers, and of several outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from relay.errors import UserError
from relay.registry import find


def build(name: str, /, **options: Any) -> nn.Module:
    made: nn.Module = find("losses", name)(**options).build()
    return made


def sample(size: tuple[int, ...] = (7, 5)) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return 2 * torch.randn(2, 3, *size, generator=g), torch.randint(0, 3, (2, *size), generator=g)


@pytest.mark.parametrize("size", [(7, 5), (4, 3, 5), ()])
@pytest.mark.parametrize("weight", [None, (1.0, 2.0, 4.0)])
def test_focal_by_hand(size: tuple[int, ...], weight: tuple[float, ...] | None) -> None:
    """Of voxels and of whole images: -(1 - p)^gamma ln p of the true class, mean over voxels and classes."""
    logits, target = sample(size)
    p = logits.softmax(1).gather(1, target[:, None])[:, 0]
    expected = -((1 - p) ** 1.5) * p.log() * torch.tensor(weight or (1.0, 1.0, 1.0))[target]
    torch.testing.assert_close(build("Focal", gamma=1.5, weight=weight)(logits, target), expected.mean() / 3)


@pytest.mark.parametrize("options", [{}, {"include_background": False, "batch_dice": True}])
def test_tversky_with_equal_weights_is_dice(options: dict[str, Any]) -> None:
    equal = build("Tversky", alpha=0.5, beta=0.5, smooth=1e-6, **options)
    torch.testing.assert_close(equal(*sample()), build("Dice", smooth=1e-6, **options)(*sample()), rtol=1e-4, atol=0)


def test_tversky_minds_what_is_missed() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    target[:, :2] = 1
    more, less = (nn.functional.one_hot(t, 2).movedim(-1, 1) * 20.0 for t in (torch.ones_like(target), target * 0))
    loss = build("Tversky", include_background=False, alpha=0.1, beta=0.9)
    assert loss(more, target) < loss(less, target)


def test_sums_of_two() -> None:
    logits, target = sample()
    whole = build("DiceFocal", lambda_dice=2, lambda_focal=3, gamma=1)(logits, target)
    torch.testing.assert_close(whole, 2 * build("Dice")(logits, target) + 3 * build("Focal", gamma=1)(logits, target))


@pytest.mark.parametrize("size", [(9, 9), (5, 6, 7)])
def test_the_boundary_pulls_from_afar(size: tuple[int, ...]) -> None:
    target = torch.zeros(1, *size, dtype=torch.long)
    target[:, 1:3, 1:3] = 1
    far, near = torch.zeros_like(target), torch.zeros_like(target)
    far[:, -1:, -1:], near[:, 2:3, 3:4] = 1, 1
    loss = build("DiceBoundary", lambda_boundary=1.0)
    logits = [(nn.functional.one_hot(t, 2).movedim(-1, 1) * 20.0).requires_grad_() for t in (target, near, far)]
    right, close, off = (loss(each, target) for each in logits)
    assert right < close < off
    off.backward()
    assert logits[2].grad is not None
    assert logits[2].grad.isfinite().all()


def test_each_output_counts_by_its_weight() -> None:
    logits, target = sample()
    loss, ce = build("DeepSupervision", loss={"name": "CE", "kwargs": {}}, weights=[1, 0.5, 0.5]), build("CE")
    torch.testing.assert_close(loss(logits, target), ce(logits, target))
    logits.deeper = [logits * 2]  # type: ignore[attr-defined]
    expected = (ce(logits, target) + 0.5 * ce(logits * 2, target)) / 1.5
    torch.testing.assert_close(loss(logits, target), expected)
    logits.deeper = [logits * 2] * 5  # type: ignore[attr-defined]
    torch.testing.assert_close(loss(logits, target), (ce(logits, target) + ce(logits * 2, target)) / 2)


def test_losses_of_numbers() -> None:
    found, target = torch.tensor([[0.0], [4.0]]), torch.tensor([[0.5], [1.0]])
    assert build("L1")(found, target).item() == pytest.approx((0.5 + 3) / 2)
    assert build("Huber", delta=1)(found, target).item() == pytest.approx((0.125 + 2.5) / 2)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("Focal", {"gamma": -1}, "greater than or equal to 0"),
        ("Focal", {"weight": [1, 2], "include_background": False}, "weight is of all classes"),
        ("DiceFocal", {"lambda_dice": 0, "lambda_focal": 0}, "can't both be 0"),
        ("GeneralisedDice", {"weighting": "cube"}, "square"),
        ("DiceBoundary", {"exponent": 0}, "greater than 0"),
        ("Huber", {"delta": 0}, "greater than 0"),
        ("DeepSupervision", {"weights": []}, "at least 1 item"),
        ("DeepSupervision", {"weights": [0, 1]}, "the first weight, of the net's answer, can't be 0"),
        ("DeepSupervision", {"loss": {"name": "DiceC"}}, "unknown name 'DiceC'.*Did you mean 'DiceCE'"),
        ("DeepSupervision", {"loss": {"name": "CE", "kwargs": {"wieght": 1}}}, "wieght.*did you mean 'weight'"),
        ("DeepSupervision", {"loss": {"name": "DeepSupervision"}}, "name another"),
        ("DeepSupervision", {"loss": {"name": "MSE"}}, "MSE is for regression, not segmentation: name another"),
    ],
)
def test_options_refuse(name: str, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        find("losses", name)(**wrong)


def test_weights_of_another_number_are_refused() -> None:
    for name in ("Focal", "DiceFocal"):
        with pytest.raises(UserError, match="weight has 3 values, but there are 2 classes"):
            find("losses", name)(weight=[1, 2, 3]).build(2)
