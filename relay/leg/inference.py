"""From 8-bit images to logits: the only way a model is applied to a whole image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from relay.config import Predict
from relay.data import Collated, Store, eval_batches
from relay.leg.vote import Vote

OVERLAP = 0.25
"""Overlap of neighbouring windows, as a share of their side."""

MAX_BATCH, MAX_VOXELS = 32, 1 << 22
"""Maximum number of images predicted together, and of their voxels: a CT volume is predicted alone."""


def batches(store: Store) -> Iterator[Collated]:
    """A store's images in order, whole, in batches that safely fit into memory."""
    largest = max(map(prod, store.shapes), default=1)
    return eval_batches(store, max(1, min(MAX_BATCH, MAX_VOXELS // largest)))


class Mirrored(nn.Module):
    """A model, and that its outputs are to be averaged over an image and all its mirror images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def mean(self, image: Tensor, patch_size: Sequence[int] | None) -> Tensor:
        """Mean logits, those of a map mirrored back."""
        ways = list(chain.from_iterable(combinations(range(2, image.ndim), n) for n in range(image.ndim - 1)))
        total: Tensor | None = None
        for axes in ways:  # added up one by one: those of a volume take gigabytes each
            logits = predict(self.model, image.flip(axes), patch_size)
            logits = logits.flip(axes) if logits.ndim == image.ndim else logits
            total = logits if total is None else total.add_(logits)
        assert total is not None
        return total.div_(len(ways))


def applied(model: nn.Module, how: Predict) -> nn.Module:
    """A model as the config wants it to be applied in tests."""
    return Mirrored(model).eval() if how.mirror else model


@torch.no_grad()
def predict(model: nn.Module, image: Tensor, patch_size: Sequence[int] | None = None) -> Tensor:
    """Logits of whole images, ``(B, C, *spatial)`` to ``(B, classes, *spatial)``.

    With a ``patch_size``, the size the model was trained on, windows of that size slide over the image and
    their logits are blended with Gaussian weights; otherwise, the whole image goes through the model at once. An image
    smaller than a window is reflected beyond its edges, as in training. A :class:`~relay.leg.vote.Vote` looks at each
    whole image to weigh its experts, each of which then predicts in this way; one that is :class:`Mirrored` predicts it
    several times.
    """
    if isinstance(model, Mirrored):
        return model.mean(image, patch_size)
    if isinstance(model, Vote):
        return model.mixed(image, lambda expert, some: predict(expert, some, patch_size))
    training = model.training
    model.eval()
    try:
        if patch_size is None:
            return model(image)  # type: ignore[no-any-return]
        from monai.inferers import sliding_window_inference

        padded, inside = reflected(image, patch_size)
        logits = sliding_window_inference(padded, tuple(patch_size), 16, model, overlap=OVERLAP, mode="gaussian")
        return logits[inside]  # type: ignore[no-any-return]
    finally:
        model.train(training)


def reflected(image: Tensor, size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image padded by (repeated) reflection to at least ``size``, and its position in the result."""
    inside = [slice(None), slice(None)]
    for axis, want in enumerate(size, 2):
        have = image.shape[axis]
        lack = max(0, want - have)
        if lack:
            order = np.pad(np.arange(have), (lack // 2, lack - lack // 2), "reflect")
            image = image.index_select(axis, torch.from_numpy(order).to(image.device))
        inside.append(slice(lack // 2, lack // 2 + have))
    return image, tuple(inside)
