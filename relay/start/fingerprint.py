"""The fingerprint of a site's data: sizes, spacings, intensities and classes, from which a plan is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relay.data import Record, read_images, read_mask, refuse, suits
from relay.errors import DataError

MOST = 100
"""How many images are read, spread evenly."""
PARTS = (0.5, 99.5)
"""Percentiles of the intensities that matter (nnU-Net's, for CT)."""
SAMPLED = 10_000
"""Intensities of each image that enter the percentiles."""


@dataclass(frozen=True)
class Fingerprint:
    """What was found.

    Attributes:
        images, patients: How many there are in all.
        read: How many of them were read.
        shape: The median size along each axis, in pixels or voxels.
        smallest: The smallest size along each axis.
        spacing: The median spacing of each axis in mm; None for 2D images.
        varies: Whether spacings differ by more than 1 %.
        channels: The channels of an image.
        kind: ``8-bit`` pictures, ``CT`` in Hounsfield units, or ``other``.
        window: The range of the intensities that matter.
        foreground: The mean share of the foreground in the masks; None without masks.
        values: The values in the masks, sorted; empty without masks.
        labels: How many images have each target, if targets are not masks.
        mixed: Whether some images are grey and others RGB.
    """

    images: int
    patients: int
    read: int
    shape: tuple[int, ...]
    smallest: tuple[int, ...]
    spacing: tuple[float, ...] | None
    varies: bool
    channels: int
    kind: str
    window: tuple[float, float]
    foreground: float | None
    values: tuple[int, ...]
    labels: Mapping[object, int]
    mixed: bool = False

    @property
    def axes(self) -> int:
        """2 or 3."""
        return len(self.shape)


@dataclass(frozen=True)
class _One:
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    eight_bits: bool
    values: np.ndarray
    classes: frozenset[int]
    foreground: float | None


def fingerprint(records: Sequence[Record]) -> Fingerprint:
    """Read up to 100 images, spread evenly, and describe all.

    Raises:
        DataError: some can't be read; or some are 2D and others 3D, or have other channels, which are not
            grey and RGB.
    """
    places = np.unique(np.linspace(0, len(records) - 1, min(MOST, len(records))).astype(int))
    seen, problems = [], []
    for place in places.tolist():
        try:
            seen.append(_one(records[place]))
        except DataError as error:
            problems.append(error)
    refuse(problems, "images that can't be read", "Fix or remove the files named above.")
    _refuse_mixed(seen, [records[place] for place in places.tolist()])
    every = np.concatenate([one.values for one in seen])
    low, high = np.percentile(every, PARTS)
    spacings = [one.spacing for one in seen if one.spacing is not None]
    shares = [one.foreground for one in seen if one.foreground is not None]
    eight, signed = all(one.eight_bits for one in seen), np.mean([one.values.min() < -300 for one in seen])
    return Fingerprint(
        images=len(records),
        patients=len({record.patient for record in records}),
        read=len(seen),
        shape=tuple(int(n) for n in np.median([one.shape for one in seen], axis=0)),
        smallest=tuple(int(n) for n in np.min([one.shape for one in seen], axis=0)),
        spacing=tuple(float(mm) for mm in np.median(spacings, axis=0)) if spacings else None,
        varies=bool(spacings) and bool((np.max(spacings, axis=0) > 1.01 * np.min(spacings, axis=0)).any()),
        channels=max(one.channels for one in seen),
        kind="8-bit" if eight else "CT" if signed > 0.5 else "other",
        window=(float(low), float(high)),
        foreground=float(np.mean(shares)) if shares else None,
        values=tuple(sorted(frozenset().union(*(one.classes for one in seen)))),
        labels=Counter(r.target for r in records if not isinstance(r.target, Path)),
        mixed=len({one.channels for one in seen}) > 1,
    )


def _one(record: Record) -> _One:
    case = read_images(record.images, eight_bits=False)
    rng = np.random.default_rng(0)
    flat = case.image.reshape(-1)
    values = flat[rng.integers(0, flat.size, min(SAMPLED, flat.size))].astype(np.float64)
    classes, share = frozenset[int](), None
    if isinstance(record.target, Path):
        mask = read_mask(record.target)
        classes, share = frozenset(np.unique(mask).tolist()), float((mask != mask.min()).mean())
        if mask.shape == case.image.shape[:-1] and (mask > 0).any():
            inside = case.image[mask > 0].reshape(-1)
            values = inside[rng.integers(0, inside.size, min(SAMPLED, inside.size))].astype(np.float64)
    eight = case.image.dtype == np.uint8
    return _One(case.image.shape[:-1], case.spacing, case.image.shape[-1], eight, values, classes, share)


def _refuse_mixed(seen: Sequence[_One], records: Sequence[Record]) -> None:
    for what, of in (
        ("axes", lambda one: len(one.shape)),
        ("channels", lambda one: one.channels),
    ):
        counts = Counter(map(of, seen))
        if len(counts) > 1 and not (what == "channels" and len(counts) == 2 and suits(*counts)):
            usual, other = counts.most_common()[0][0], counts.most_common()[-1][0]
            first = next(r for one, r in zip(seen, records, strict=True) if of(one) == other)
            raise DataError(
                f"images differ in their number of {what}: most have {usual}, but {first.image} has {other}",
                "A study has one kind of image. Separate them, or convert those that differ.",
            )
