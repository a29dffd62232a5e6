"""The diagonal of the Fisher information of a model (imports torch: import it late)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from relay.memory.weights import as_vector, trained
from relay.phase import Likelihood


def fisher(model: nn.Module, images: Iterable[Tensor], seed: int, likelihood: Likelihood = "categorical") -> Tensor:
    """``E[(d log p(y | x) / dw)^2] / voxels`` over images x and labels y sampled from the model itself, ``(W,)``.

    The labels are sampled from the model's own predictions, once per image: this is the Fisher information, not the
    *empirical* one with the true labels, which tells little about curvature (Kunstner et al. 2019, arXiv:1905.12558).
    Given the image, the voxels' labels are independent, so the log-likelihood is a sum over them. Divided by
    their number, it is the curvature of the mean cross-entropy, whose scale does not depend on the size of the images.

    Args:
        likelihood: how outputs are read; numbers have an error of variance 1.
        images: single ones, ``(1, C, *spatial)``; the model gives ``(1, classes, *spatial)`` or ``(1, classes)``.
    """
    parameters = list(trained(model).values())
    total, count = torch.zeros_like(as_vector(parameters)), 0
    draw = torch.Generator().manual_seed(seed)
    for image in images:
        loss, size = surprise(model(image), draw, likelihood)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        total += as_vector(gradients).square() / size
        count += 1
    return total / max(1, count)


def surprise(logits: Tensor, draw: torch.Generator, likelihood: Likelihood) -> tuple[Tensor, int]:
    """``-log p(y | x)`` of a target y that is drawn from the model itself, and of how many independent parts it is."""
    if likelihood == "gaussian":
        noise = torch.randn(logits.shape, generator=draw).to(logits)
        return (logits - (logits.detach() + noise)).square().sum() / 2, logits.numel()
    if likelihood == "bernoulli":
        drawn = (torch.rand(logits.shape, generator=draw).to(logits) < logits.detach().sigmoid()).to(logits)
        return F.binary_cross_entropy_with_logits(logits, drawn, reduction="sum"), logits.numel()
    log_p = logits.log_softmax(1).movedim(1, -1).flatten(0, -2)
    chance = torch.rand(len(log_p), 1, generator=draw).to(log_p)
    label = (log_p.detach().exp().cumsum(1)[:, :-1] < chance).sum(1)  # the inverse of the distribution
    return F.nll_loss(log_p, label, reduction="sum"), len(log_p)
