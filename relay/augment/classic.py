"""Augmentations without options: those that only move pixels, in NumPy, and those for 8-bit pictures, with imgaug.

Masks follow the geometry by nearest neighbour; what comes in from outside the image is black, and class 0 (background)
in the mask.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from relay.augment.base import Augmentation, Images, Pixels


class Unchanged(Augmentation):
    """No augmentation: the arrays that were given."""

    axes, takes = (2, 3), "any"

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return images, masks


class Flip(Augmentation):
    """Mirrors each sample along each axis with probability one half."""

    axes, takes = (2, 3), "any"

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return flipped(images, masks, np.random.default_rng(seed), turn=False)


class FlipRotate(Augmentation):
    """Mirrors each sample, and swaps rows and columns as often: all eight symmetries of a square; images that are
    not square keep to the four of a rectangle. Of a volume, within its slices."""

    axes, takes = (2, 3), "any"

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return flipped(images, masks, np.random.default_rng(seed), turn=True)


def flipped(images: Images, masks: Pixels, rng: np.random.Generator, turn: bool) -> tuple[Images, Pixels]:
    """Each sample mirrored along each axis with probability one half and, with ``turn``, rows and columns swapped as
    often where there are as many of them."""
    axes = masks.ndim - 1
    rows, columns = axes - 2, axes - 1
    mirrored = rng.random((len(masks), axes)) < 0.5
    square = masks.shape[1 + rows] == masks.shape[1 + columns]
    swapped = rng.random(len(masks)) < (0.5 if turn and square else 0.0)
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for i in range(len(masks)):
        view = tuple(slice(None, None, -1) if mirror else slice(None) for mirror in mirrored[i])
        image, mask = images[i][view], masks[i][view]
        new_images[i] = image.swapaxes(rows, columns) if swapped[i] else image
        new_masks[i] = mask.swapaxes(rows, columns) if swapped[i] else mask
    return new_images, new_masks


class Geometric(Augmentation):
    """Mirrors, scales, rotates, shifts, shears and deforms 8-bit pictures, with imgaug."""

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return through_imgaug(_pipeline(True, False, images.shape[-1]), images, masks, seed)


class Colour(Augmentation):
    """Changes contrast, brightness and hue of 8-bit pictures, blurs and adds noise, with imgaug; masks stay
    unchanged."""

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        pipeline = _pipeline(False, True, images.shape[-1])
        pipeline.seed_(seed % 2**32)
        return pipeline(images=images), masks


class Full(Augmentation):
    """``geometric``, then ``colour``."""

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return through_imgaug(_pipeline(True, True, images.shape[-1]), images, masks, seed)


def through_imgaug(pipeline: Any, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
    """A batch through an augmenter of imgaug, its randomness from the seed alone."""
    pipeline.seed_(seed % 2**32)
    changed, maps = pipeline(images=images, segmentation_maps=masks[..., None].astype(np.int32))
    return changed, maps[..., 0].astype(np.uint8)


@cache
def _pipeline(geometry: bool, colours: bool, channels: int) -> Any:
    """An imgaug pipeline; grey images (one channel) have no hue to change."""
    import imgaug.augmenters as iaa

    geometric = [
        iaa.Fliplr(0.5),
        iaa.Flipud(0.5),
        iaa.Affine(scale=(0.85, 1.15), rotate=(-25, 25), translate_percent=(-0.06, 0.06), shear=(-6, 6)),
        iaa.Sometimes(0.5, iaa.ElasticTransformation(alpha=(0, 20), sigma=5)),
    ]
    hue = [iaa.Sometimes(0.5, iaa.AddToHueAndSaturation((-12, 12)))] if channels == 3 else []
    colour = [
        iaa.LinearContrast((0.75, 1.3)),
        iaa.Add((-20, 20)),
        *hue,
        iaa.Sometimes(0.3, iaa.GaussianBlur((0.0, 1.0))),
        iaa.Sometimes(0.3, iaa.AdditiveGaussianNoise(scale=(0, 6))),
    ]
    return iaa.Sequential([*(geometric if geometry else []), *(colour if colours else [])])
