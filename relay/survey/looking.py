"""What a site's page says about each image, gathered in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data import SPLITS, Pixels, Record, SiteData, SplitName

SIDE = 16
"""Rows and columns of the thumbnails that are compared."""
ALIKE = 0.95
"""Images whose thumbnails correlate more than this are nearly the same."""
ROWS = 512
"""How many images are compared with all others at a time."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An image.

    Attributes:
        split, record: Which it is.
        shape, spacing: Its size in voxels and mm per voxel (None if unknown), as the net sees it.
        mean, spread: Mean and standard deviation of its intensities, as stored.
        shares: Of segmentation, the share of each class in its voxels; else empty.
        target: Of other tasks, its target.
        thumbnail: float32 ``(16, 16)``; of a volume, its middle slice.
    """

    split: SplitName
    record: Record
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    mean: float
    spread: float
    shares: tuple[float, ...]
    target: Any
    thumbnail: NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images that are nearly the same, and the correlation of their thumbnails."""

    one: Seen
    other: Seen
    correlation: float


@dataclass(frozen=True)
class Look:
    """A site as its page shows it: its images, and those that are nearly the same in two splits."""

    site: SiteData
    images: Sequence[Seen]
    copies: Sequence[Pair]

    @property
    def splits(self) -> list[SplitName]:
        """The splits that have images."""
        return [part for part in SPLITS if any(seen.split == part for seen in self.images)]


def look_at(site: SiteData) -> Look:
    """Look at all images of a site; they must have been read."""
    images = [_seen(site, part, k) for part in SPLITS if site.split[part] for k in range(len(site.store(part).samples))]
    return Look(site, images, near_copies(images))


def _seen(site: SiteData, part: SplitName, k: int) -> Seen:
    store, options = site.store(part), site.dataset.options
    image, target = store[k]
    values = image.astype(np.float32)
    shares: tuple[float, ...] = ()
    if options.does.dense:
        shares = tuple(np.bincount(target.ravel(), minlength=options.outputs)[: options.outputs] / target.size)
    return Seen(
        part,
        store.samples[k],
        store.shapes[k],
        store.spacings[k],
        float(values.mean()),
        float(values.std()),
        shares,
        None if options.does.dense else target.tolist(),
        _thumbnail(plane(image)),
    )


def plane(volume: NDArray[Any]) -> NDArray[Any]:
    """An image ``(H, W, …)`` as it is; of a volume ``(D, H, W, C)`` the middle slice."""
    return volume[len(volume) // 2] if volume.ndim == 4 else volume


def _thumbnail(image: NDArray[Any]) -> NDArray[np.float32]:
    from PIL import Image

    grey = Image.fromarray(image.mean(axis=-1, dtype=np.float32))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def near_copies(images: Sequence[Seen]) -> list[Pair]:
    """Pairs of images in two splits that are nearly the same, the most similar first.

    Thumbnails are standardised, and the mean of all is subtracted, because images of one kind resemble each other: what
    is left tells them apart. The correlation of two does not change with brightness, contrast, size or compression. (A
    difference hash of 64 bits does not separate images of one kind: among photographs of the fundus, those of different
    patients differ in no bit.)
    """
    if len(images) < 3:
        return []
    flat = np.stack([image.thumbnail.ravel() for image in images])
    flat = (flat - flat.mean(1, keepdims=True)) / np.maximum(flat.std(1, keepdims=True), 1e-6)
    left = flat - flat.mean(0)
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-6)
    parts = np.array([image.split for image in images])
    found = []
    for first in range(0, len(images), ROWS):
        alike = left[first : first + ROWS] @ left.T
        alike[parts[first : first + ROWS, None] == parts] = 0
        rows, columns = np.nonzero(alike > ALIKE)
        found += [
            Pair(images[first + row], images[column], float(alike[row, column]))
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if first + row < column
        ]
    return sorted(found, key=lambda pair: -pair.correlation)


def shown(image: NDArray[Any]) -> Pixels:
    """A stored image's plane as 8-bit RGB; one or two channels, or more than three, in grey."""
    seen = plane(image)
    seen = seen if seen.shape[-1] == 3 else np.broadcast_to(seen[..., :1], (*seen.shape[:2], 3))
    if seen.dtype == np.uint8:
        return np.ascontiguousarray(seen)
    whole: Pixels = np.rint((np.clip(seen.astype(np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)
    return whole
