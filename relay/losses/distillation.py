"""Distillation: a student learns a teacher's answers (imports torch: import it late)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def distillation(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 2.0, confidence: float = 0.0
) -> Tensor:
    """``T^2 KL(teacher || student)`` at temperature T (Hinton 2015, arXiv:1503.02531), mean over voxels.

    Args:
        student_logits: (B, C, *S), of any float type; computed in float32.
        teacher_logits: (B, C, *S); no gradient goes there.
        temperature: T > 0, softens both.
        confidence: in 0..1: only voxels count where the teacher's largest probability, at temperature 1, is
            at least this.

    Returns:
        A scalar >= 0; 0 where no voxel counts.

    Raises:
        ValueError: the shapes differ.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(f"logits differ in shape: {student_logits.shape} and {teacher_logits.shape}")
    student, teacher = student_logits.float(), teacher_logits.detach().float()
    divergence = F.kl_div(
        (student / temperature).log_softmax(dim=1),
        (teacher / temperature).log_softmax(dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
    counts = (teacher.softmax(dim=1).amax(dim=1) >= confidence).float()
    return temperature**2 * (divergence * counts).sum() / counts.sum().clamp(min=1)


def soft_dice(student_logits: Tensor, teacher_logits: Tensor, smooth: float = 1e-5) -> Tensor:
    """One minus Dice between two soft predictions, mean over samples and classes.

    ``2 sum(p q) / (sum(p^2) + sum(q^2))`` over voxels, the form of Milletari et al. 2016 (10.1109/3DV.2016.79):
    unlike the one with plain sums below, it is largest where the predictions are equal, not where the student's is
    hard.

    Args:
        student_logits: (B, C, *S), of any float type; computed in float32.
        teacher_logits: (B, C, *S); no gradient goes there.
        smooth: added above and below the fraction.

    Returns:
        A scalar in 0..1.
    """
    voxels = tuple(range(2, student_logits.dim()))
    p, q = teacher_logits.detach().float().softmax(1), student_logits.float().softmax(1)
    overlap = 2 * (p * q).sum(voxels) + smooth
    return 1 - (overlap / (p.square().sum(voxels) + q.square().sum(voxels) + smooth)).mean()
