"""Warnings about a data set: allowed, but probably not intended. They are shown before time is spent on it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relay.data.dataset import Dataset
from relay.data.formats.files import is_volume
from relay.data.options import DatasetOptions, SplitName
from relay.data.patients import doubtful
from relay.data.read import read_images
from relay.data.record import Record
from relay.data.site import SiteData
from relay.data.store import Store
from relay.errors import some

SPREAD = 1.1
"""Warn if the spacings of a site differ by more than this factor."""
AIR = -500
"""Scans in Hounsfield units have values below this, and others above 0: air has -1000."""
FAR = 100.0
"""An optimiser changes a net's output by about 0.05 a step with common rates: beyond this, it takes thousands."""
SHOWN = 3
STRETCHED = "img_size stretches them differently: crop them to one extent, or train on patches (patch_size) instead"
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class Doubt:
    """A warning.

    Attributes:
        site: The site it is about.
        text: What is suspicious, and what to do; it names no image or patient, so it may be disclosed.
        names: The images or patients it is about; they stay at the site.
    """

    site: str
    text: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(self.names[:SHOWN]) + (", …" if len(self.names) > SHOWN else "")
        return f"{self.site}: {self.text}" + (f" ({shown})" if shown else "")


def combined(found: Iterable[Doubt]) -> list[str]:
    """Warnings as people read them: what is the same at several sites is said once."""
    sites: dict[tuple[str, tuple[str, ...]], dict[str, None]] = defaultdict(dict)
    for doubt in found:
        sites[doubt.text, doubt.names][doubt.site] = None
    return [str(Doubt(", ".join(where), *what)) for what, where in sites.items()]


def examine(site: SiteData, splits: Sequence[SplitName]) -> list[Doubt]:
    """All warnings about a site's images in the given splits; this reads those not yet read."""
    name = site.dataset.options.task_name
    splits = [name for name in splits if not (name == "test" and "val" in splits and site.split.stands_in)]
    seen = [*_seen(site, splits)]
    found = [*_names(site), *_set_aside(site), *_shared_masks(site), *_masks(site, seen), *_labels(site, splits)]
    found += [*_images(seen), *_copies(seen)]
    found += [*_scale(site, splits), *_spacings(site, splits), *_notes(site, splits)]
    if "train" in splits and site.dataset.options.task == "regression":
        found += _numbers(site.train, site.dataset.options)
    if "train" in splits and not site.split.val:
        found.append(("there are no patients for validation, so nothing shows whether training went on too long", ()))
    return [Doubt(name, text, tuple(names)) for text, names in found]


Found = Iterator[tuple[str, Sequence[str]]]


def _names(site: SiteData) -> Found:
    """Patient names that may belong to one person."""
    for group in doubtful(sample.patient for sample in site.dataset.listing):
        yield (
            "patients whose names differ only in case, width, dashes or zeros may be the same; they stay in one split",
            group,
        )


def _set_aside(site: SiteData) -> Found:
    """Patients of the publisher's test set, whom folds leave out."""
    marked = {sample.patient for sample in site.dataset.listing if sample.split == "test"}
    if marked and site.dataset.options.fold:
        yield (
            f"patients whom the publisher marks for testing ({len(marked)}) are in no fold, and take no part; to deal "
            "all patients into folds, don't use the published split",
            sorted(marked),
        )


def _shared_masks(site: SiteData) -> Found:
    """Masks of several images."""
    of: dict[object, dict[object, str]] = defaultdict(dict)
    for sample in site.dataset.listing:
        if isinstance(sample.target, Path):
            of[sample.target].setdefault(sample.images, sample.id)
    if ids := [name for images in of.values() if len(images) > 1 for name in images.values()]:
        yield f"{len(ids)} images have a mask that is another image's, too", ids


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept about an image after its voxels were examined: how many are in each class (none without a mask),
    whether it has one value everywhere, and its digest."""

    split: SplitName
    sample: Record
    counts: NDArray[np.int64]
    flat: bool
    digest: bytes


def _seen(site: SiteData, splits: Sequence[SplitName]) -> Iterator[_Seen]:
    """Examine all images, one at a time: they may not fit into RAM."""
    for split in splits:
        store = site.store(split)
        for i, sample in enumerate(store.samples):
            image, mask = store[i]
            image = np.ascontiguousarray(image)
            same = hashlib.blake2b(image.data, key=str(image.shape).encode()).digest()
            counts = np.bincount(mask.ravel(), minlength=256) if mask.ndim >= 2 else np.zeros(256, np.int64)
            yield _Seen(split, sample, counts, bool(image.min() == image.max()), same)


def _masks(site: SiteData, pictures: Sequence[_Seen]) -> Found:
    """Classes that never occur, split by split."""
    options = site.dataset.options
    seen: dict[SplitName, NDArray[np.int64]] = {}
    for picture in (picture for picture in pictures if picture.counts.any()):
        seen[picture.split] = seen.get(picture.split, 0) + picture.counts
    everywhere = sum(seen.values(), np.zeros(256, np.int64))
    for split, counts in seen.items():
        if not counts[1:].any():
            yield f"all {split} masks are empty: they contain only background", ()
    if everywhere[1:].any() and not everywhere[0]:
        yield f"class 0 ({options.names[0]}) occurs in no mask: check that background and mask_values are right", ()
    for k in range(1, options.outputs):
        without = [split for split, counts in seen.items() if not counts[k] and counts[1:].any()]
        if without and not everywhere[k]:
            yield f"class {k} ({options.names[k]}) occurs in no mask; num_classes may be too large", ()
        elif without:
            yield f"class {k} ({options.names[k]}) occurs in no {' and no '.join(without)} mask", ()


def _labels(site: SiteData, splits: Sequence[SplitName]) -> Found:
    """Classes of images that never occur, split by split."""
    task = site.dataset.options.does
    if task.dense or task.fewest is None:
        return
    for split in splits:
        targets = [store[i][1] for store in (site.store(split),) for i in range(len(store))]
        there = {k for target in targets for k in (np.flatnonzero(target) if target.ndim else [int(target)])}
        if targets and (absent := [name for k, name in enumerate(task.names) if k not in there]):
            yield f"no {split} image has the {task.classes} {some(absent)}", ()


def _numbers(store: Store, options: DatasetOptions) -> Found:
    """Numbers to predict that are far from those that a net begins with, which are near 0."""
    given, (added, by) = [float(store[i][1]) for i in range(len(store))], options.target_scale or (0.0, 1.0)
    values = (np.array(given) - added) / by
    mean, deviation = float(values.mean()), float(values.std())
    scaled = "" if options.target_scale is None else ", after target_scale,"
    about = f"the numbers to predict are{scaled} {mean:.2g} on average (standard deviation {deviation:.2g})"
    own = f"[{np.mean(given):.4g}, {np.std(given):.4g}]"
    cure = f"Set dataset.kwargs.target_scale, the same at every site, such as {own}, which are those of this site"
    if max(abs(mean), deviation) > FAR:
        yield f"{about}; a net begins near 0, and hardly gets to numbers so large. {cure}", ()
    elif 0 < deviation < 1 / FAR:
        yield f"{about}; a net hardly learns differences so small. {cure}", ()


def _images(pictures: Sequence[_Seen]) -> Found:
    """Images with the same value everywhere."""
    flat = [picture.sample.id for picture in pictures if picture.flat and picture.sample.slice is None]
    if flat:
        yield f"{_many(flat, 'has', 'have')} the same value everywhere: black or blank", flat


def _copies(pictures: Sequence[_Seen]) -> Found:
    """Images that are identical, voxel by voxel; the worst kind of each group is reported."""
    same: dict[bytes, list[tuple[SplitName, Record]]] = defaultdict(list)
    for picture in pictures:
        if picture.flat and picture.sample.slice is not None:
            continue  # the outermost slices of a volume are often black
        same[picture.digest].append((picture.split, picture.sample))
    kinds: dict[str, list[str]] = defaultdict(list)
    for group in (group for group in same.values() if len(group) > 1):
        ids = [sample.id for _, sample in group]
        if len({split for split, _ in group}) > 1:
            kinds["are identical to images in another split: training and test data overlap"] += ids
        elif len({sample.patient for _, sample in group}) > 1:
            kinds["are identical to images of another patient"] += ids
        else:
            kinds["of one patient are identical"] += ids
    for text, ids in kinds.items():
        yield f"{len(ids)} images {text}", ids


def _scale(site: SiteData, splits: Sequence[SplitName]) -> Found:
    """CT that is scaled image by image; the first image of each split is read again, as it is in its files."""
    dataset = site.dataset
    if dataset.options.image_type is not np.uint8 or type(dataset).read is not Dataset.read:
        return  # a data set's own read may have scaled it already
    for sample in (site.split[name][0] for name in splits if site.split[name]):
        values = read_images(sample.images, eight_bits=False).image if is_volume(sample.image) else np.zeros(1)
        known = values[np.isfinite(values)]
        if known.size and known.min() < AIR and known.max() > 0:
            yield (
                f"values go down to {known.min():g}, as in CT, but each image is scaled on its own, which discards "
                "their unit: for CT, add Normalise with how: window to the steps",
                (),
            )
            return


def _spacings(site: SiteData, splits: Sequence[SplitName]) -> Found:
    """Voxels with very different sizes."""
    spacings = [spacing for split in splits for spacing in site.store(split).spacings]
    known = [spacing for spacing in spacings if spacing is not None]
    if known and len(known) < len(spacings):
        yield f"{len(spacings) - len(known)} of {len(spacings)} images don't give their spacing in mm", ()
    if len({len(spacing) for spacing in known}) == 1:
        low, high = np.min(known, axis=0), np.max(known, axis=0)
        if (high > SPREAD * low).any():
            span = " × ".join(f"{a:.3g}" if a == b else f"{a:.3g} to {b:.3g}" for a, b in zip(low, high, strict=True))
            cure = STRETCHED if site.dataset.options.fixed_size else "resample them to one spacing"
            yield f"the spacing varies between images: {span} mm; {cure}", ()


def _notes(site: SiteData, splits: Sequence[SplitName]) -> Found:
    """Notes from the readers; notes that differ only in their numbers are shown once."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for split in splits:
        store = site.store(split)
        for sample, notes in zip(store.samples, store.notes, strict=True):
            for note in notes:
                said[NUMBER.sub("#", note)].setdefault(sample.id, note)
    for told in said.values():
        ids, first = list(told), "" if len(set(told.values())) == 1 else ", the first"
        yield f"{_many(ids)}{first}: {told[ids[0]]}", ids


def _many(ids: Sequence[str], one: str = "", more: str = "") -> str:
    """``1 image has``, ``2 images have``."""
    return f"1 image {one}".rstrip() if len(ids) == 1 else f"{len(ids)} images {more}".rstrip()
