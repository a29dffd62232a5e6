"""The voxels of the training images: a net that has not seen others may fail on others without a sign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from relay.data import Dataset, Record, SplitName, is_volume, prepare, read_geometry
from relay.errors import DataError, UserError
from relay.plan import Study

T = TypeVar("T")
FAR = 1.5
"""By how much voxels may be larger or smaller than those of all training images without a word."""
MOST = 32
"""How many headers are read at most for each site: a small site's voxels count as much as a large one's."""
Usual = Sequence[tuple[float, float]]
"""The smallest and the largest spacing along each axis, in mm."""


def samples(study: Study, name: SplitName) -> Iterator[tuple[Dataset, Record]]:
    """The images of a split of every leg's site whose data are here: volumes whole.

    Raises:
        UserError: a data set can't be listed or split.
    """
    for leg in {leg.task_name: leg for leg in study.legs}.values():
        for dataset in leg.pool:
            if dataset.options.task_name == leg.task_name and dataset.accessible():
                site = prepare(dataset, leg.conf.random_seed, splits=(name,))
                yield from ((dataset, sample) for sample in site.split[name] if sample.slice in (None, 0))


def evenly(found: Sequence[T], most: int) -> Sequence[T]:
    """Up to ``most`` of them, evenly spaced."""
    return found[:: max(1, -(-len(found) // most))]


def usual_spacing(study: Study) -> Usual | None:
    """The spacing of the training images that are here; None if there are none, if they are pictures, or if every image
    is resampled to one spacing first.
    """
    if any(step.name == "Resample" for step in study.legs[0].data.steps or ()):
        return None
    try:
        found: dict[str, list[Record]] = defaultdict(list)
        for dataset, sample in samples(study, "train"):
            found[dataset.options.task_name].append(sample)
        some = [sample for own in found.values() for sample in evenly(own, MOST)]
        known = [mm for sample in some if (mm := _spacing(sample.image))]
    except UserError:
        return None  # training would name it; prediction can do without
    if not known or len({len(mm) for mm in known}) > 1:
        return None
    return [(min(along), max(along)) for along in zip(*known, strict=True)]


def _spacing(path: Path) -> tuple[float, ...] | None:
    try:
        geometry = read_geometry(path) if path.exists() and is_volume(path) else None
    except DataError:
        return None
    return geometry.turned_spacing if geometry is not None else None


def doubt_about(spacing: Sequence[float] | None, known: Usual | None) -> str:
    """A phrase, if an image's voxels are unlike those of the training images; else empty."""
    if spacing is None or known is None or len(spacing) != len(known):
        return ""
    if all(low / FAR <= mm <= high * FAR for mm, (low, high) in zip(spacing, known, strict=True)):
        return ""
    mine = " × ".join(f"{mm:.3g}" for mm in spacing)
    theirs = " × ".join(f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}" for low, high in known)
    return f"its voxels are {mine} mm, those of the training images {theirs} mm: resample it, or look twice"
