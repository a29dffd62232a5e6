"""Augmentations of a training batch, by name: plug-ins of the group ``relay.augmentations``.

``flip`` and ``flip_rotate`` only move pixels (they lose nothing) and are plain NumPy; ``geometric``,
``colour`` and ``full`` run through imgaug, once a batch. Intensities are uint8 and stay so. Masks follow the
geometry by nearest neighbour; what comes in from outside the image is black, and class 0 (background) in the
mask.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay import registry
from relay.errors import UserError

Pixels: TypeAlias = NDArray[np.uint8]


class Augmentation:
    """A plug-in of the group ``relay.augmentations``, constructed without arguments.

    Attributes:
        axes: for how many spatial axes it is: 2 for images, 3 for volumes.
    """

    axes: ClassVar[tuple[int, ...]] = (2,)

    @abstractmethod
    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """Augment a batch; the same seed gives the same batch.

        Args:
            images: uint8 ``(B, *S, C)`` with one or three channels; not to be written to.
            masks: uint8 ``(B, *S)``; likewise.
            seed: any non-negative integer; all randomness comes from it.

        Returns:
            Images and masks of the same shapes.
        """


def augment(name: str, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Augment a batch by the augmentation of a name: see :meth:`Augmentation.apply`.

    Raises:
        UserError: there is no such augmentation, it does not support volumes, or it is a plug-in and failed.
    """
    check(name, masks.ndim - 1)
    made = _named(name)
    with registry.blamed(f"augmentation '{name}'", made):
        new_images, new_masks = made.apply(images, masks, seed)
        for what, old, new in (("images", images, new_images), ("masks", masks, new_masks)):
            if new.shape != old.shape or new.dtype != old.dtype:
                raise ValueError(f"{what} became {new.dtype} {new.shape}; they must stay {old.dtype} {old.shape}")
    return new_images, new_masks


def check(name: str, axes: int) -> None:
    """Refuse an augmentation that pictures of two or three spatial axes can't have.

    Raises:
        UserError: the message lists those they can have.
    """
    if axes not in _named(name).axes:
        allowed = ", ".join(n for n in registry.names("augmentations") if axes in _named(n).axes)
        kind = "images" if axes == 2 else "volumes"
        raise UserError(f"augment: '{name}' is not available for {kind}: one of {allowed}")


@cache
def _named(name: str) -> Augmentation:
    cls = registry.find("augmentations", name)
    with registry.blamed(f"augmentation '{name}'", cls):
        made: Augmentation = cls()
    return made


class Unchanged(Augmentation):
    """No augmentation: the arrays that were given."""

    axes = (2, 3)

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return images, masks


class Flip(Augmentation):
    """Mirrors each sample along each axis with probability one half."""

    axes = (2, 3)

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return _flip(images, masks, np.random.default_rng(seed), turn=False)


class FlipRotate(Augmentation):
    """Mirrors each sample, and swaps rows and columns as often: all eight symmetries of a square; images that are
    not square keep to the four of a rectangle."""

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return _flip(images, masks, np.random.default_rng(seed), turn=True)


def _flip(images: Pixels, masks: Pixels, rng: np.random.Generator, turn: bool) -> tuple[Pixels, Pixels]:
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


class Geometric(Augmentation):
    """Mirrors, scales, rotates, shifts, shears and deforms, with imgaug."""

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return _imgaug(_pipeline(True, False, images.shape[-1]), images, masks, seed)


class Colour(Augmentation):
    """Changes contrast, brightness and hue, blurs and adds noise, with imgaug; masks stay unchanged."""

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        pipeline = _pipeline(False, True, images.shape[-1])
        pipeline.seed_(seed % 2**32)
        return pipeline(images=images), masks


class Full(Augmentation):
    """``geometric``, then ``colour``."""

    def apply(self, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """See :meth:`Augmentation.apply`."""
        return _imgaug(_pipeline(True, True, images.shape[-1]), images, masks, seed)


def _imgaug(pipeline: Any, images: Pixels, masks: Pixels, seed: int) -> tuple[Pixels, Pixels]:
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
