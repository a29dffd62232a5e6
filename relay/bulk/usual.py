"""The voxels of the training images: a net that has not seen others may fail on others without a sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from relay.data import Dataset, Record, SplitName, is_volume, prepare, read_geometry
from relay.errors import DataError, UserError
from relay.plan import Study

FAR = 1.5
"""By how much voxels may be larger or smaller than those of all training images without a word."""
MOST = 32
"""How many headers are read for each site, evenly spaced."""
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


def usual_spacing(study: Study) -> Usual | None:
    """The spacing of the training images that are here; None if there are none, if they are pictures, or if every image
    is resampled to one spacing first.
    """
    if any(step.name == "Resample" for step in study.legs[0].data.steps or ()):
        return None
    try:
        found = [sample for _, sample in samples(study, "train")]
        known = [mm for sample in found[:: max(1, len(found) // MOST)] if (mm := _spacing(sample.image))]
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
