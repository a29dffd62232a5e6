"""Segmentation losses against other people's implementations, by hand, and at the edges."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import monai.losses
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from relay.errors import UserError
from relay.losses.modules import power, rarity
from relay.registry import find

PUBLISHED = {
    "soft_dice": True,
    "dice_kwargs": {"do_bg": False, "batch_dice": True},
    "wce_kwargs": {"weight": [1, 2, 2]},
    "gamma": 0.3,
}
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("CE", {}),
    ("CE", {"weight": [1, 2, 3], "label_smoothing": 0.1}),
    ("Dice", {}),
    ("Dice", {"include_background": False, "batch_dice": True, "smooth": 1}),
    ("DiceCE", {}),
    ("ExpLogLoss", {}),
    ("ExpLogLoss", PUBLISHED),
    ("ExpLogLoss", {"gamma": 2, "dice_kwargs": {"batch_dice": False}}),
    ("Focal", {"gamma": 1.0}),
    ("Tversky", {"include_background": False}),
    ("GeneralisedDice", {}),
    ("DiceFocal", {"lambda_focal": 2}),
    ("DeepSupervision", {"loss": {"name": "CE", "kwargs": {}}}),
]


def build(name: str, /, **options: Any) -> nn.Module:
    return find("losses", name)(**options).build()


def sample(size: tuple[int, ...] = (7, 5), batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, 3, *size, generator=g)
    return logits, torch.randint(0, 3, (batch, *size), generator=g)


def certain(target: Tensor, strength: float) -> Tensor:
    """Logits that give each voxel's label ``strength`` more than the others."""
    return nn.functional.one_hot(target, 3).movedim(-1, 1) * strength


@pytest.mark.parametrize("size", [(7, 5), (4, 3, 5)])
@pytest.mark.parametrize("weight", [None, [0.5, 2, 3]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_ce_is_torchs(size: tuple[int, ...], weight: list[float] | None, smoothing: float) -> None:
    theirs = nn.CrossEntropyLoss(None if weight is None else torch.tensor(weight), label_smoothing=smoothing)
    ours = build("CE", weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours(*sample(size)), theirs(*sample(size)))


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("batch", [True, False])
def test_dice_by_hand(background: bool, batch: bool) -> None:
    logits, target = sample()
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    t = np.stack([target.numpy() == c for c in range(3)], axis=1)
    axes = (0, 2, 3) if batch else (2, 3)
    dice = (2 * (p * t).sum(axes) + 0.5) / (p.sum(axes) + t.sum(axes) + 0.5)
    ours = build("Dice", include_background=background, batch_dice=batch, smooth=0.5)
    expected = 1 - dice[..., 0 if background else 1 :].mean()
    assert ours(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_dice_ce_is_monais() -> None:
    logits, target = sample()
    options = {"lambda_dice": 0.7, "lambda_ce": 1.3, "include_background": False, "label_smoothing": 0.1}
    theirs = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True, **options)
    torch.testing.assert_close(build("DiceCE", **options)(logits, target), theirs(logits, target.unsqueeze(1)))


def test_dice_ce_is_the_sum_of_its_parts() -> None:
    weight = [1, 2, 3]
    parts = 2 * build("Dice")(*sample()) + 3 * build("CE", weight=weight)(*sample())
    whole = build("DiceCE", lambda_dice=2, lambda_ce=3, weight=weight)(*sample())
    torch.testing.assert_close(whole, parts)


def explog_by_hand(logits: Tensor, target: Tensor, o: dict[str, Any]) -> float:
    """Wong et al. 2018, equations 1 to 4, a voxel at a time."""
    batch, gamma = len(logits), o.get("gamma", 0.3)
    dice_kwargs = {"do_bg": True, "batch_dice": True} | o.get("dice_kwargs", {})
    p = logits.double().softmax(1).flatten(2).movedim(1, 2).tolist()  # p[b][x][c]
    t = target.flatten(1).tolist()
    labels = [label for sample_ in t for label in sample_]
    weight = o.get("wce_kwargs", {}).get("weight") or [
        math.sqrt(len(labels) / max(1, labels.count(c))) for c in range(3)
    ]
    voxels = [(p[b][x], label) for b in range(batch) for x, label in enumerate(t[b])]
    cross = [weight[label] * (-math.log(q[label])) ** gamma for q, label in voxels]
    groups = [range(batch)] if dice_kwargs["batch_dice"] else [[b] for b in range(batch)]
    dice = []
    for group in groups:
        for c in range(0 if dice_kwargs["do_bg"] else 1, 3):
            both = sum(p[b][x][c] for b in group for x, label in enumerate(t[b]) if label == c)
            sizes = sum(p[b][x][c] + (label == c) for b in group for x, label in enumerate(t[b]))
            dice.append((-math.log((2 * both + 1) / (sizes + 1))) ** gamma)
    terms = sum(dice) / len(dice), sum(cross) / len(cross)
    return o.get("dice_weight", 0.8) * terms[0] + o.get("ce_weight", 0.2) * terms[1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        PUBLISHED,
        {"gamma": 1.0, "dice_weight": 0.0},
        {"gamma": 2.0, "ce_weight": 0.0},
        {"dice_kwargs": {"do_bg": False, "batch_dice": False}},
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_explog_by_hand(options: dict[str, Any], seed: int) -> None:
    logits, target = sample((4, 3), seed=seed)
    expected = explog_by_hand(logits, target, options)
    assert build("ExpLogLoss", **options)(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_the_published_options_are_kept() -> None:
    made: Any = find("losses", "ExpLogLoss")(**PUBLISHED)
    assert (made.dice_kwargs.do_bg, made.wce_kwargs.weight, made.gamma) == (False, (1.0, 2.0, 2.0), 0.3)
    assert (made.dice_weight, made.ce_weight) == (0.8, 0.2)


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
@pytest.mark.parametrize("strength", [0.0, 20.0, 1e4, -20.0, -1e4])
@pytest.mark.parametrize("label", [None, 0, 2])
def test_gradients_stay_finite_right_or_wrong(
    name: str, options: dict[str, Any], strength: float, label: int | None
) -> None:
    """Perfect and totally wrong predictions, all classes there or only one."""
    target = sample()[1] if label is None else torch.full((2, 7, 5), label)
    logits = certain(target, strength).requires_grad_()
    loss = build(name, **options)(logits, target)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_right_is_better_than_unsure_is_better_than_wrong(name: str, options: dict[str, Any]) -> None:
    target = sample()[1]
    loss = build(name, **options)
    sure = 3.0 if options.get("label_smoothing") else 30.0
    right, unsure, wrong = (loss(certain(target, s), target).item() for s in (sure, 0.0, -sure))
    assert right < unsure < wrong
    if not options.get("label_smoothing"):
        assert right == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_gradient_descent_goes_down(name: str, options: dict[str, Any]) -> None:
    logits, target = sample()
    logits.requires_grad_()
    loss = build(name, **options)
    before = loss(logits, target)
    before.backward()
    assert logits.grad is not None
    with torch.no_grad():
        assert loss(logits - 0.1 * logits.grad / logits.grad.norm(), target) < before


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    logits, target = sample((64, 64))
    loss, half = build(name, **options), logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(half, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(half.float(), target))


@given(st.floats(0.05, 4), st.floats(0, 100, width=32))
def test_power_is_the_power_but_near_zero(gamma: float, x: float) -> None:
    y = power(torch.tensor(x), gamma).item()
    if x >= 2e-6:
        assert y == pytest.approx(x**gamma, rel=1e-4)
    else:
        assert 0 <= y <= 2e-6**gamma * 1.01


def test_powers_gradient_at_and_below_zero() -> None:
    x = torch.tensor([-1e-3, 0.0, 1e-7, 1e-6, 1.0], requires_grad=True)
    y = power(x, 0.3)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[1:] > 0).all()
    assert y[:2].tolist() == [0, 0]


def test_rare_labels_weigh_more() -> None:
    target = torch.tensor([[[0] * 12 + [1] * 4]])
    expected = [math.sqrt(16 / 12), math.sqrt(16 / 4), math.sqrt(16)]
    assert rarity(target, 3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["CE", "DiceCE"])
def test_weights_of_another_number_are_refused_before_training(name: str) -> None:
    with pytest.raises(UserError, match=r"weight has 3 values, but there are 2 classes"):
        find("losses", name)(weight=[1, 2, 2]).build(2)
    assert find("losses", name)(weight=[1, 2, 2]).build(3)


def test_explog_weights_of_another_number_are_refused_before_training() -> None:
    with pytest.raises(UserError, match=r"wce_kwargs.weight has 3 values"):
        find("losses", "ExpLogLoss")(**PUBLISHED).build(2)


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_losses_have_no_state(name: str, options: dict[str, Any]) -> None:
    """A loss is part of the config, and must not travel with a model's weights."""
    assert build(name, **options).state_dict() == {}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("CE", {"weight": [1, 0]}),
        ("CE", {"weight": [1]}),
        ("CE", {"label_smoothing": 1}),
        ("CE", {"wieght": [1, 2]}),
        ("Dice", {"smooth": 0}),
        ("Dice", {"smooth": float("inf")}),
        ("DiceCE", {"lambda_dice": float("nan")}),
        ("DiceCE", {"lambda_ce": -1}),
        ("DiceCE", {"lambda_ce": 0, "lambda_dice": 0}),
        ("ExpLogLoss", {"soft_dice": False}),
        ("ExpLogLoss", {"gamma": 0}),
        ("ExpLogLoss", {"dice_kwargs": {"background": True}}),
        ("ExpLogLoss", {"wce_kwargs": {"weight": "high"}}),
        ("ExpLogLoss", {"dice_weight": 0, "ce_weight": 0}),
    ],
)
def test_options_refuse(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        find("losses", name)(**wrong)


def test_the_options_need_no_torch() -> None:
    code = "import sys, relay.losses; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_a_loss_never_waits_for_the_device(name: str, options: dict[str, Any]) -> None:
    """On the meta device there is nothing to wait for: asking for a value is an error."""
    logits, target = (x.to("meta") for x in sample())
    assert build(name, **options).to("meta")(logits, target).is_meta
