"""Named augmentations of a training batch.

``flip`` and ``flip_rotate`` only move pixels (they lose nothing) and are plain NumPy; ``geometric``,
``colour`` and ``full`` run through imgaug, once a batch. Intensities are uint8 and stay so. Masks follow the
geometry by nearest neighbour; what comes in from outside the image is black, and class 0 (background) in the
mask.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay.errors import UserError

Pixels: TypeAlias = NDArray[np.uint8]
NAMES: Final = ("none", "flip", "flip_rotate", "geometric", "colour", "full")
VOLUME_NAMES: Final = ("none", "flip")


def augment(name: str, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Augment a batch; the same seed gives the same batch.

    Args:
        name: One of :data:`NAMES`; for volumes one of :data:`VOLUME_NAMES`.
        images: uint8 ``(B, *S, C)`` with one or three channels.
        masks: uint8 ``(B, *S)``.
        seed: Any non-negative integer.

    Returns:
        New images and masks of the same shapes; for ``none`` the arrays that were given.

    Raises:
        UserError: there is no such augmentation, or not for volumes.
    """
    check(name, masks.ndim - 1)
    if name == "none":
        return images, masks
    if name in ("flip", "flip_rotate"):
        return _flip(images, masks, np.random.default_rng(seed), turn=name == "flip_rotate")
    return _imgaug(name, images, masks, seed)


def check(name: str, axes: int) -> None:
    """Refuse an augmentation that pictures of two or three spatial axes can't have.

    Raises:
        UserError: the message lists those they can have.
    """
    allowed, kind = (NAMES, "images") if axes == 2 else (VOLUME_NAMES, "volumes")
    if name not in allowed:
        raise UserError(f"augment: '{name}' is not available for {kind}: one of {', '.join(allowed)}")


def _flip(images: Pixels, masks: Pixels, rng: np.random.Generator, turn: bool) -> tuple[Pixels, Pixels]:
    """Mirror each sample along each axis by chance of a half; with ``turn``, swap rows and columns as often.

    These are all eight symmetries of a square; images that are not square keep to the four of a rectangle.
    """
    axes = masks.ndim - 1
    mirrored = rng.random((len(masks), axes)) < 0.5
    swapped = rng.random(len(masks)) < (0.5 if turn and masks.shape[1] == masks.shape[2] else 0.0)
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for i in range(len(masks)):
        view = tuple(slice(None, None, -1) if mirror else slice(None) for mirror in mirrored[i])
        image, mask = images[i][view], masks[i][view]
        new_images[i] = image.swapaxes(0, 1) if swapped[i] else image
        new_masks[i] = mask.swapaxes(0, 1) if swapped[i] else mask
    return new_images, new_masks


def _imgaug(name: str, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    pipeline = _pipeline(name, images.shape[-1])
    pipeline.seed_(seed % 2**32)
    if name == "colour":
        return pipeline(images=images), masks
    changed, maps = pipeline(images=images, segmentation_maps=masks[..., None].astype(np.int32))
    return changed, maps[..., 0].astype(np.uint8)


@cache
def _pipeline(name: Literal["geometric", "colour", "full"], channels: int) -> Any:
    """The imgaug pipeline of a name; grey images (one channel) have no hue to change."""
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
    parts = {"geometric": geometric, "colour": colour, "full": geometric + colour}
    return iaa.Sequential(parts[name])
