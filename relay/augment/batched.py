"""Geometry and intensities of a whole batch at once (imports torch: import it late)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from relay.augment.base import Images, Pixels
from relay.augment.ranges import Ranges

KNOTS = 6
"""Points along each axis between which a deformation is interpolated."""


def moved(images: Images, masks: Pixels, r: Ranges, rng: np.random.Generator) -> tuple[Images, Pixels]:
    """Turned, scaled, sheared, shifted and deformed: images linearly, masks by nearest neighbour.

    What comes in from outside is 0.

    Args:
        images: float32 ``(B, *S, C)``.
        masks: uint8 ``(B, *S)``.
    """
    size = masks.shape[1:]
    x = torch.from_numpy(images).movedim(-1, 1)
    y = torch.from_numpy(masks.astype(np.float32))[:, None]
    grid = _grid(_matrices(len(masks), size, r, rng), size) + _bent(len(masks), size, r, rng)
    new = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    labels = F.grid_sample(y, grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return np.ascontiguousarray(new.movedim(1, -1).numpy()), labels[:, 0].numpy().astype(np.uint8)


def changed(images: Images, r: Ranges, rng: np.random.Generator) -> Images:
    """Other contrast, brightness and gamma, the same in all channels; then blur and noise.

    Args:
        images: float32 ``(B, *S, C)`` in 0..1.
    """
    new: Images = images.copy()
    for image in new:
        contrast, brightness, exponent, spread = rng.uniform(-1, 1, 4)
        often = rng.random(5) < r.often * np.array([1, 1, 1, 0.4, 0.6])
        if often[0]:
            image -= 0.5
            image *= 1 + r.contrast * contrast
            image += 0.5
        if often[1]:
            image += r.brightness * brightness
        if often[2] and r.gamma != 1:
            np.clip(image, 0, 1, out=image)
            np.power(image, r.gamma**exponent, out=image)
        if often[3] and r.blur:
            sigma = (*(abs(spread) * r.blur for _ in image.shape[:-1]), 0)
            gaussian_filter(image, sigma, output=image)
        if often[4]:
            image += rng.normal(0, r.noise * abs(spread), image.shape).astype(np.float32)
    return new


def _matrices(count: int, size: tuple[int, ...], r: Ranges, rng: np.random.Generator) -> NDArray[Any]:
    """For each sample the affine map from its new voxels to its old ones, ``(B, n, n + 1)``, in voxels from the centre;
    axes in the order x, y, z."""
    axes = len(size)
    scale = 1 + r.scale * rng.uniform(-1, 1, (count, 1))
    linear = np.eye(axes) / scale[..., None]
    shear = r.shear * rng.uniform(-1, 1, (count, axes, axes)) * (1 - np.eye(axes))
    angles = np.deg2rad(r.turn) * rng.uniform(-1, 1, (count, axes * (axes - 1) // 2))
    angles[:, 1:] /= 3  # out of a volume's slices
    for place, (a, b) in enumerate([(0, 1), (0, 2), (1, 2)][: angles.shape[1]]):
        turn = np.tile(np.eye(axes), (count, 1, 1))
        turn[:, a, a] = turn[:, b, b] = np.cos(angles[:, place])
        turn[:, a, b], turn[:, b, a] = -np.sin(angles[:, place]), np.sin(angles[:, place])
        linear = linear @ turn
    shift = r.shift * rng.uniform(-1, 1, (count, axes)) * np.array(size[::-1])
    return np.concatenate([linear @ (np.eye(axes) + shear), shift[..., None]], axis=2)


def _grid(matrices: NDArray[Any], size: tuple[int, ...]) -> Tensor:
    """The places of all voxels under the maps, ``(B, *S, n)`` in -1..1 from the first voxel's centre to the last's."""
    half = np.maximum((np.array(size[::-1]) - 1) / 2, 0.5)  # a voxel is as long along each axis; -1..1 is not
    lines = [np.linspace(-h, h, n) if n > 1 else np.zeros(1) for h, n in zip(half[::-1], size, strict=True)]
    points = np.stack(np.meshgrid(*lines, indexing="ij")[::-1], axis=-1).reshape(-1, len(size)).astype(np.float32)
    maps = (matrices / half[:, None]).astype(np.float32)
    places = points @ maps[:, :, :-1].transpose(0, 2, 1) + maps[:, None, :, -1]
    return torch.from_numpy(places.reshape(len(maps), *size, len(size)))


def _bent(count: int, size: tuple[int, ...], r: Ranges, rng: np.random.Generator) -> Tensor:
    """A smooth displacement of each sample, ``(B, *S, n)``; for some it is 0."""
    axes = len(size)
    knots = rng.uniform(-1, 1, (count, axes, *((KNOTS,) * axes))) * 2 * r.bend
    knots[rng.random(count) >= r.often] = 0
    if not r.bend:
        return torch.zeros(1)
    mode = "bicubic" if axes == 2 else "trilinear"
    field = F.interpolate(torch.from_numpy(knots.astype(np.float32)), size, mode=mode, align_corners=True)
    return field.movedim(1, -1)
