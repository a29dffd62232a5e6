"""What a model makes of each image: loss, entropy, the norm of its gradient, and features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay.leg import predict
from relay.phase import Batch, Likelihood
from relay.plan import Leg
from relay.privacy.evidence import Floats
from relay.privacy.subjects import Subjects


def losses(model: nn.Module, subjects: Subjects, leg: Leg, device: torch.device) -> tuple[Floats, Floats]:
    """Loss and entropy of each image; entropy is NaN where a task has none."""
    loss, entropy = [], []
    model.to(device).eval()
    for batch in subjects.batches(leg, device):
        logits = predict(model, batch.image, leg.data.patch_size).float()
        loss.append(each(logits, batch.label, leg.data.does.likelihood).double().cpu())
        entropy.append(_entropy(logits, leg.data.does.likelihood).double().cpu())
    return torch.cat(loss).numpy(), torch.cat(entropy).numpy()


def each(logits: Tensor, label: Tensor, likelihood: Likelihood) -> Tensor:
    """Negative log-likelihood of each image ``(B,)``: of a map the mean over voxels, each class it has counting alike.

    Background fills most of an image and is easy: a plain mean would hardly see the rest.
    """
    if likelihood == "gaussian":
        return (logits - label).square().flatten(1).mean(1)
    if likelihood == "bernoulli":
        return functional.binary_cross_entropy_with_logits(logits, label, reduction="none").flatten(1).mean(1)
    found = functional.cross_entropy(logits, label, reduction="none")
    if found.ndim == 1:
        return found
    found, classes = found.flatten(1), functional.one_hot(label.flatten(1), logits.shape[1]).float()
    counts = classes.sum(1)
    by_class = torch.einsum("bv,bvc->bc", found, classes) / counts.clamp(min=1)
    return by_class.sum(1) / (counts > 0).sum(1)


def _entropy(logits: Tensor, likelihood: Likelihood) -> Tensor:
    if likelihood == "gaussian":
        return logits.new_full((len(logits),), torch.nan)
    if likelihood == "bernoulli":
        p = logits.sigmoid()
        return functional.binary_cross_entropy_with_logits(logits, p, reduction="none").flatten(1).mean(1)
    log = logits.log_softmax(1)
    return -(log.exp() * log).sum(1).reshape(len(logits), -1).mean(1)


def gradients(model: nn.Module, subjects: Subjects, leg: Leg, device: torch.device) -> Floats:
    """The norm of the loss's gradient with respect to all weights, for each image alone."""
    return np.array([float(found.norm()) for found in gradients_of(model, subjects, leg, device)])


def gradients_of(model: nn.Module, subjects: Subjects, leg: Leg, device: torch.device) -> Iterator[Tensor]:
    """The gradient of each image's loss with respect to all weights, float64 ``(W,)`` on the CPU, in their order.

    Of an image larger than ``patch_size`` only the middle goes through the net.
    """
    model.to(device).eval()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for batch in subjects.batches(leg, device, most=1):
        image, label = middle(batch, leg)
        loss = each(model(image).float(), label, leg.data.does.likelihood).sum()
        parts = torch.autograd.grad(loss, weights, materialize_grads=True)
        yield torch.cat([part.flatten() for part in parts]).double().cpu()


def middle(batch: Batch, leg: Leg) -> tuple[Tensor, Tensor]:
    """Image and label, cut to ``patch_size`` about their middle; smaller ones are padded with what is at their edge."""
    size = leg.data.patch_size
    if size is None:
        return batch.image, batch.label
    cut, lack = [slice(None), slice(None)], list[int]()
    for have, want in zip(batch.image.shape[2:], size, strict=True):
        begin = max(0, (have - want) // 2)
        cut.append(slice(begin, begin + want))
        lack = [0, max(0, want - have), *lack]
    image = functional.pad(batch.image[tuple(cut)], lack, mode="replicate")
    if not leg.data.does.dense:
        return image, batch.label
    label = batch.label[tuple(cut[1:])][:, None].float()
    return image, functional.pad(label, lack, mode="replicate")[:, 0].to(batch.label.dtype)


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """The model's own features, ``(B, F)``: what its convolutions make of images, averaged over positions."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, out: Tensor) -> None:
        found.append(out.flatten(2).mean(2))

    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    hooks = [module.register_forward_hook(keep) for module in convolutions]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found, 1)
