"""Intensities, channels and sizes of pictures: everything that is done to one before it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relay.data.sample import Pixels
from relay.errors import DataError

WINDOW = (0.5, 99.5)
_LUMA = np.array([0.299, 0.587, 0.114])


def window(values: NDArray[Any]) -> Pixels:
    """Intensities of any scale as uint8: the 0.5 to 99.5 percentile of this picture becomes 0 to 255.

    What lies outside is clipped, what is not finite becomes 0, and a picture of one value is all 0.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], WINDOW)
    scaled = (np.where(finite, values, low).astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    rounded: Pixels = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return rounded


def as_channels(image: Pixels, channels: int) -> Pixels:
    """An image with the channels wanted: grey is repeated, RGB becomes its luma (BT.601).

    Raises:
        DataError: it has neither the channels wanted, nor one or three.
    """
    if image.shape[-1] == channels:
        return image
    if {image.shape[-1], channels} != {1, 3}:
        raise DataError(f"an image of {image.shape[-1]} channels can't become one of {channels}")
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
