"""From a fingerprint and the memory at hand to spacing, sizes, batch, net and loss: docs/explanation/first-config.md.

After nnU-Net (Isensee et al. 2021, 10.1038/s41592-020-01008-z): the median spacing, the median shape as the patch as
far as the memory allows, a batch of at least 2, normalisation by modality, a third of the patches on the foreground.
Each choice comes with its reason, which the config repeats as a comment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relay.errors import UserError
from relay.start.fingerprint import Fingerprint

BYTES = 150
"""Bytes that training takes for each voxel of a batch and feature of the net's first level, with some to spare: of the
plain U-Net on a CPU, 91 were measured in 2D (batch 8, 256×256) and 135 in 3D (batch 2, 64×64×64)."""
FEATURES = {2: (16, 16, 32, 64, 96), 3: (8, 16, 32, 64, 64)}
LARGEST = {2: 512, 3: 128}
"""The longest side of a patch."""
STEP = 16
"""Sides are multiples of this: a U-Net halves them four times."""
CLASSIFIED = {2: 224, 3: 96}
"""The longest side of an image that is classified as a whole."""
BATCH = {2: 16, 3: 4}
"""The largest batch; the least is 2, as nnU-Net's."""
RARE = 0.05
"""A foreground smaller than this share is rare: a third of the patches are centred on it."""
STEPS = 30
"""Optimiser steps of an epoch, about."""
EPOCHS = 40
ANISOTROPIC = 3.0
"""A volume whose axes' spacings differ by more than this is anisotropic."""


@dataclass(frozen=True)
class Choice:
    """A value of the config, and why it was chosen."""

    value: Any
    why: str


def sizes(found: Fingerprint, dense: bool, memory: int) -> dict[str, Choice]:
    """``steps``, ``img_size`` and ``patch_size`` of the data set, and ``batch_size``.

    Args:
        dense: Whether a class is predicted for each voxel.
        memory: Bytes that training may take.

    Raises:
        UserError: the memory does not suffice for a batch of two.
    """
    steps, shape = _steps(found)
    if dense:
        size = [min(LARGEST[found.axes], _multiple(n)) for n in shape]
        why = f"the median size is {_by(shape)}; multiples of {STEP}, at most {LARGEST[found.axes]}"
    else:
        side = CLASSIFIED[found.axes]
        size = [max(2 * STEP, min(side, _multiple(n))) for n in shape]
        why = f"the median size is {_by(shape)}; an image is classified as a whole, with sides of at most {side}"
    room = memory / (BYTES * FEATURES[found.axes][0])
    while 2 * math.prod(size) > room:
        longest = size.index(max(size))
        if size[longest] <= STEP:
            raise UserError(
                f"{memory / 1e9:.2g} GB are too little to train on two images at a time",
                "Give more with --memory, or train on a machine with more.",
            )
        size[longest] -= STEP
        why = f"as large as two fit into {memory / 1e9:.2g} GB; the median size is {_by(shape)}"
    batch = int(min(BATCH[found.axes], room // math.prod(size), max(2, found.images // 4)))
    chosen = {"steps": steps} if steps.value else {}
    if dense:
        chosen["patch_size"] = Choice(size, f"patches: {why}")
    elif steps.value:
        steps.value.append({"name": "Resize", "kwargs": {"size": size}})
    else:
        chosen["img_size"] = Choice(size, why)
    limit = (
        f"as many as {memory / 1e9:.2g} GB hold, at most {BATCH[found.axes]} and a quarter of the images, at least 2"
    )
    return {**chosen, "batch_size": Choice(max(2, batch), limit)}


def _steps(found: Fingerprint) -> tuple[Choice, list[int]]:
    """Steps for volumes and for pictures of more than 8 bits, and the size after them; none for 8-bit pictures."""
    if found.kind == "8-bit" and found.axes == 2:
        return Choice([], ""), list(found.shape)
    steps: list[dict[str, Any]] = []
    shape, why = list(found.shape), []
    if found.spacing is not None and found.varies:
        spacing = [float(f"{mm:.3g}") for mm in found.spacing]
        steps.append({"name": "Resample", "kwargs": {"spacing": spacing}})
        why.append("the median spacing, as spacings vary")
    steps.append({"name": "Normalise", "kwargs": _normalise(found)})
    why.append(
        "CT keeps its Hounsfield units: the range of the masked (or all) voxels, without 0.5 % at each end"
        if found.kind == "CT"
        else "the mean and standard deviation of each image, as scales differ"
    )
    return Choice(steps, "; ".join(why)), shape


def _normalise(found: Fingerprint) -> dict[str, Any]:
    if found.kind != "CT":
        return {"how": "zscore"}
    low, high = (round(value) for value in found.window)
    return {"how": "window", "low": low, "high": max(high, low + 1)}


def net_of(found: Fingerprint, dense: bool) -> Choice:
    """The net."""
    if not dense:
        kwargs: dict[str, Any] = {"batch_norm": "group"}
        why = "a common net for classification; group normalisation keeps no statistics of one site's images"
        return Choice({"name": "monai:DenseNet121", "kwargs": kwargs}, why)
    if found.axes == 2:
        return Choice({"name": "U-Net"}, "a plain U-Net of 0.4 million weights: small enough for a stick and a CPU")
    kwargs = {"spatial_dims": 3, "features": list(FEATURES[3])}
    return Choice({"name": "U-Net", "kwargs": kwargs}, "a plain 3D U-Net with few features, as volumes fill the memory")


def foreground(found: Fingerprint) -> Choice | None:
    """The share of patches that are centred on the foreground; None if it is not rare."""
    if found.foreground is None or found.foreground >= RARE:
        return None
    share = f"{100 * found.foreground:.2g} %"
    return Choice(0.33, f"a third of the patches, because only {share} of the voxels are foreground")


def repeats(found: Fingerprint, batch: int) -> Choice:
    """How often an epoch uses an image, so that an epoch is neither too short nor too long."""
    trained = max(1, round(0.6 * found.images))
    many = max(1, math.ceil(STEPS * batch / trained))
    return Choice(many, f"about {many * trained // batch or 1} steps an epoch with some {trained} training images")


def anisotropy(found: Fingerprint) -> str | None:
    """A warning if slices are much thicker than pixels."""
    if found.spacing is None or len(found.spacing) < 3 or max(found.spacing) < ANISOTROPIC * min(found.spacing):
        return None
    told = " × ".join(f"{mm:.3g}" for mm in found.spacing)
    return f"slices are far apart ({told} mm): compare with slices: axial, which trains a 2D net on single slices"


def _multiple(n: int) -> int:
    return max(STEP, STEP * round(n / STEP))


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def target_scale(numbers: Sequence[float]) -> Choice | None:
    """Mean and standard deviation of the numbers to predict; None if all are the same."""
    mean, deviation = float(np.mean(numbers or [0.0])), float(np.std(numbers or [0.0]))
    if not deviation > 0:
        return None
    why = (
        "mean and standard deviation of the numbers of this site's training patients: training sees standardised "
        "numbers, predictions and errors stay in their own unit; every site must have the same"
    )
    return Choice([float(f"{mean:.4g}"), float(f"{deviation:.4g}")], why)
