"""Intensities, channels and sizes of images: all processing before an image is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relay.data.record import Pixels
from relay.errors import DataError

WINDOW = (0.5, 99.5)
CLIPPED = 0.1
"""The share of the non-background voxels that a window may clip: a tenth if 95 % is background."""
FEW_LEVELS = 4
SMALLEST, LARGEST = 1e-300, 1e30
"""Differences that count as zero, and values whose differences could overflow."""
_LUMA = np.array([0.299, 0.587, 0.114])


def window(values: NDArray[Any]) -> tuple[Pixels, tuple[str, ...]]:
    """Intensities of any scale as uint8: the 0.5 to 99.5 percentile of this image becomes 0 to 255.

    Values outside are clipped, non-finite ones become 0, and an image with a single value becomes all 0. If nearly
    all voxels have the same value, so that the window would clip more than a tenth of the others, it covers that value
    and the percentiles of the others.

    Returns:
        The image, and a phrase for everything suspicious about it.
    """
    values = _tamed(values)
    finite = np.isfinite(values)
    known = values[finite]
    if not known.size:
        return np.zeros(values.shape, np.uint8), ("no voxel is a finite number; read as black",)
    low, high, notes = _bounds(known)
    if known.size < values.size:
        notes.append(f"{values.size - known.size} of {values.size} voxels are NaN or infinite; read as black")
    factor = 255 / (high - low) if high - low > SMALLEST else 0.0
    scaled = (np.where(finite, values, low).astype(np.float64) - low) * factor
    rounded: Pixels = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return rounded, tuple(notes)


def _tamed(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, scaled so that no difference overflows; the scale does not matter."""
    if (
        values.dtype.kind == "f"
        and np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max() > LARGEST
    ):
        return values.astype(np.float64) * 2.0**-64
    return values


def _bounds(known: NDArray[Any]) -> tuple[float, float, list[str]]:
    """The window of finite values, and everything suspicious about them."""
    low, usual, high = np.percentile(known, (WINDOW[0], 50, WINDOW[1]))
    others = known[known != usual]
    if not others.size:
        return low, high, [f"every voxel is {usual:g}; read as black"]
    if ((others < low) | (others > high)).mean() > CLIPPED:
        first, last = np.percentile(others, WINDOW)
        share = f"{100 * (1 - others.size / known.size):.4g} % of its voxels are {usual:g}"
        return min(usual, first), max(usual, last), [f"{share}; its window is based on the others"]
    few, many = np.percentile(others, (5, 95))
    levels = (many - few) * 255 / (high - low)
    if levels < FEW_LEVELS:
        return (
            low,
            high,
            [f"outliers stretch its window: 90 % of its intensities fall into {levels:.0f} of 256 grey levels"],
        )
    return low, high, []


def as_channels(image: Pixels, channels: int) -> Pixels:
    """An image with the required channels: grey is repeated, RGB becomes its luma (BT.601).

    Raises:
        DataError: it has neither the required number of channels, nor one or three.
    """
    if image.shape[-1] == channels:
        return image
    if {image.shape[-1], channels} != {1, 3}:
        raise DataError(f"an image with {image.shape[-1]} channels can't be converted to {channels}")
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    luma: Pixels = np.rint(image @ _LUMA).astype(np.uint8)
    return luma[..., None]


def resize_image(image: Pixels, size: Sequence[int]) -> Pixels:
    """An image ``(*S, C)`` at another size: bilinear, averaging over the area where it shrinks."""
    channels = [_resize(image[..., c], size, Image.Resampling.BILINEAR) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1)


def resize_mask(mask: Pixels, size: Sequence[int]) -> Pixels:
    """A mask ``(*S)`` at another size: nearest neighbour, so that no class is invented."""
    return _resize(mask, size, Image.Resampling.NEAREST)


def _resize(array: Pixels, size: Sequence[int], how: Image.Resampling) -> Pixels:
    """Both filters are separable: a volume is resized slice by slice, then along its first axis."""
    if array.shape == tuple(size):
        return array
    if array.ndim == 2:
        return np.asarray(Image.fromarray(array).resize((size[1], size[0]), how))
    slices = np.stack([_resize(plane, size[1:], how) for plane in array])
    columns = [_resize(plane, (size[0], size[2]), how) for plane in slices.swapaxes(0, 1)]
    return np.stack(columns, axis=1)
