"""Intensities, channels and sizes of images: all processing before an image is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relay.data.record import Pixels
from relay.data.suiting import suits
from relay.errors import DataError

WINDOW = (0.5, 99.5)
CLIPPED = 0.1
"""The share of the non-background voxels that a window may clip: a tenth if 95 % is background."""
FEW_LEVELS = 4
T = TypeVar("T", bound=np.generic)
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
    low, high, notes = bounds(known)
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


def bounds(known: NDArray[Any], percents: tuple[float, float] = WINDOW) -> tuple[float, float, list[str]]:
    """The window of finite values between two percentiles, and everything suspicious about them."""
    low, usual, high = np.percentile(known, (percents[0], 50, percents[1]))
    others = known[known != usual]
    if not others.size:
        return low, high, [f"every voxel is {usual:g}; read as black"]
    if ((others < low) | (others > high)).mean() > CLIPPED:
        first, last = np.percentile(others, percents)
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


def viewable(image: NDArray[Any]) -> Pixels:
    """An image of any type as 8 bits, for looking at it."""
    return image if image.dtype == np.uint8 else window(image)[0]


def as_channels(image: NDArray[T], channels: int) -> NDArray[T]:
    """An image with the required channels: grey is repeated, RGB becomes its luma (BT.601).

    Raises:
        DataError: it has neither the required number of channels, nor one or three.
    """
    found = image.shape[-1]
    if found == channels:
        return image
    if not suits(found, channels):
        raise DataError(
            f"{found} channel{'s' if found > 1 else ''}, but the config's channels is {channels}",
            f"Set channels: {found}, or give the images that the config means: one file with {channels} channels, or "
            "several files that are put together.",
        )
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    luma = image @ _LUMA
    grey: NDArray[T] = (luma if image.dtype.kind == "f" else np.rint(luma)).astype(image.dtype)[..., None]
    return grey


def resize_image(image: NDArray[T], size: Sequence[int], cubic: bool = False) -> NDArray[T]:
    """An image ``(*S, C)`` of uint8 or float32 at another size: linear or cubic, averaging over the area where it
    shrinks."""
    how = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    channels = [_resize(image[..., c], size, how) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1)


def resize_mask(mask: NDArray[T], size: Sequence[int]) -> NDArray[T]:
    """A mask ``(*S)`` at another size: nearest neighbour, so that no class is invented."""
    return _resize(mask, size, Image.Resampling.NEAREST)


def _resize(array: NDArray[T], size: Sequence[int], how: Image.Resampling) -> NDArray[T]:
    """Both filters are separable: a volume is resized slice by slice, then along its first axis."""
    if array.shape == tuple(size):
        return array
    if array.ndim == 2:
        return np.asarray(Image.fromarray(array).resize((size[1], size[0]), how))
    slices = np.stack([_resize(plane, size[1:], how) for plane in array])
    columns = [_resize(plane, (size[0], size[2]), how) for plane in slices.swapaxes(0, 1)]
    return np.stack(columns, axis=1)
