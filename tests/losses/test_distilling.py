"""Distillation against scipy, by hand, and at the edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor

from relay.losses.distilling import distillation


def logits(seed: int, size: tuple[int, ...] = (6, 5)) -> Tensor:
    return 3 * torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(seed))


@given(st.floats(0.5, 8), st.floats(0, 1), st.integers(0, 20))
def test_it_is_scipys_relative_entropy(temperature: float, confidence: float, seed: int) -> None:
    student, teacher = logits(seed), logits(seed + 100)
    s, t = student.double().numpy(), teacher.double().numpy()
    entropy = rel_entr(softmax(t / temperature, axis=1), softmax(s / temperature, axis=1)).sum(1)
    counts = teacher.softmax(1).amax(1).numpy() >= confidence
    expected = temperature**2 * entropy[counts].mean() if counts.any() else 0.0
    found = distillation(student, teacher, temperature=temperature, confidence=confidence)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_same_answer_costs_nothing() -> None:
    student = logits(0, (3, 4, 5)).requires_grad_()
    loss = distillation(student, student + 7.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-6, rtol=0)


def test_only_confident_voxels_count() -> None:
    teacher, student = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    teacher[0, 0, 0, 0] = 8.0
    student.requires_grad_()
    distillation(student, teacher, confidence=0.9).backward()
    assert student.grad is not None
    assert (student.grad[..., 0] != 0).all()
    assert (student.grad[..., 1] == 0).all()


def test_nobody_confident_is_zero_not_nan() -> None:
    student = logits(0).requires_grad_()
    loss = distillation(student, torch.zeros_like(student), confidence=0.9)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_the_teacher_learns_nothing() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    distillation(student, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(size: float) -> None:
    student = logits(0).requires_grad_()
    loss = distillation(student, size * logits(1))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher = logits(0).bfloat16(), logits(1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = distillation(student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distillation(student.float(), teacher.float()))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        distillation(logits(0), logits(0)[:, :3])


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there is nothing to wait for: asking for a value is an error."""
    assert distillation(logits(0).to("meta"), logits(1).to("meta"), confidence=0.5).is_meta
