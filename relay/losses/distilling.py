"""Distillation: a student learns a teacher's answers (imports torch: import it late)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from relay.phase import Likelihood


def distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 2.0,
    confidence: float = 0.0,
    likelihood: Likelihood = "categorical",
) -> Tensor:
    """``T^2 KL(teacher || student)`` at temperature T (Hinton 2015, arXiv:1503.02531), mean over voxels.

    Args:
        student_logits: ``(B, C, *S)``, of any float type; computed in float32.
        teacher_logits: ``(B, C, *S)``; no gradient goes there.
        temperature: T > 0, softens both.
        confidence: in 0..1: only voxels count where the teacher's largest probability, at temperature 1, is
            at least this.
        likelihood: how outputs are read. Labels are each a question of two answers; of numbers it is half the squared
            difference, whatever the temperature and the confidence.

    Returns:
        A scalar >= 0; 0 where no voxel counts.

    Raises:
        ValueError: the shapes differ.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(f"logits differ in shape: {student_logits.shape} and {teacher_logits.shape}")
    student, teacher = student_logits.float(), teacher_logits.detach().float()
    if likelihood == "gaussian":
        return F.mse_loss(student, teacher) / 2
    if likelihood == "bernoulli":  # of two classes, whose logits are those of the label and 0
        student, teacher = (torch.stack([logits, torch.zeros_like(logits)], 1) for logits in (student, teacher))
    divergence = F.kl_div(
        (student / temperature).log_softmax(dim=1),
        (teacher / temperature).log_softmax(dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
    counts = (teacher.softmax(dim=1).amax(dim=1) >= confidence).float()
    return temperature**2 * (divergence * counts).sum() / counts.sum().clamp(min=1)
