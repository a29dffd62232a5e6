"""The page of a site's data: self-contained, for the site itself. Every text in it is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relay.data import Doubt
from relay.files import write_text
from relay.numbers import MISSING
from relay.report import Picture, Section, Table, figure, render, styled
from relay.survey.looking import Look, Seen
from relay.survey.tiles import tiles

FEW = 5
"""Groups smaller than this may point to a person: statistical offices suppress such cells."""
SIZES = 12
"""How many different sizes the page lists."""
COPIES = 50
"""How many pairs of similar images the page lists."""


def write_page(look: Look, doubts: Sequence[Doubt], folder: Path) -> Path:
    """Write ``<site>.html`` into a folder; returns its path.

    Args:
        doubts: What :func:`relay.data.examine` said.
    """
    options = look.site.dataset.options
    patients = len({seen.record.patient for seen in look.images})
    sentence = f"{len(look.images)} images of {patients} patients, for {options.task}."
    with styled():
        parts = [part for part in _sections(look, doubts) if part is not None]
        page = render(
            Path(__file__).with_name("site.html"),
            title=options.task_name,
            sentence=sentence,
            sections=parts,
            cases=True,
            narrow=True,
            alerts=(),
        )
    path = folder / f"{options.task_name}.html"
    write_text(path, page)
    return path


def _sections(look: Look, doubts: Sequence[Doubt]) -> Iterator[Section | None]:
    yield Section("counts", "Patients and images", tables=[_counts(look)], pictures=[*_values(look)])
    yield _warnings(doubts)
    yield _copies(look)
    yield Section("sizes", "Sizes and spacings", tables=[_sizes(look.images), *_spacings(look.images)])
    yield Section("intensities", "Intensities", pictures=[_intensities(look)])
    if look.site.dataset.options.does.dense:
        yield Section("areas", "Areas of the classes", tables=[_areas(look)])
    yield Section("images", "Some images", ["Spread evenly over each split, in the order of names."], tiles=tiles(look))
    yield Section("sharing", "What may be shared", _sharing(look))


def _counts(look: Look) -> Table:
    """Split by split: images, patients, and images of each class (in segmentation, images that contain it)."""
    options, rows = look.site.dataset.options, []
    names = [] if options.task == "regression" else options.names
    for part in [*look.splits, None]:
        seen = [image for image in look.images if part in (None, image.split)]
        people = len({image.record.patient for image in seen})
        has = [sum(_has(image, k) for image in seen) for k in range(len(names))]
        rows.append([part or "all", str(len(seen)), str(people), *map(str, has)])
    return Table("Images, patients, and images with each class", ["split", "images", "patients", *names], rows)


def _has(seen: Seen, k: int) -> bool:
    if seen.shares:
        return seen.shares[k] > 0
    return bool(seen.target[k]) if isinstance(seen.target, list) else bool(seen.target == k)


def _values(look: Look) -> Iterator[Picture]:
    """Of regression, how the values are spread in each split."""
    if look.site.dataset.options.task == "regression":
        name = look.site.dataset.options.names[0]
        values = {part: [s.target for s in look.images if s.split == part] for part in look.splits}
        yield _histogram("targets", f"Values of {name}", name, values)


def _warnings(doubts: Sequence[Doubt]) -> Section | None:
    if not doubts:
        return None
    rows = [[doubt.text, ", ".join(doubt.names[:COPIES]) or MISSING] for doubt in doubts]
    table = Table("What is allowed, but probably not intended", ["warning", "images or patients"], rows, numeric=False)
    return Section("warnings", "Warnings", tables=[table])


def _copies(look: Look) -> Section | None:
    if not look.copies:
        return None
    said = (
        "These images are in two splits and nearly the same: copies at another size, brightness or compression, the "
        "same patient under two names, or patients who look alike. Look at them. If they are copies, give them one "
        "patient, or remove one: otherwise a model is tested on what it was trained on."
    )
    rows = [
        [one.record.id, one.split, other.record.id, other.split, f"{pair.correlation:.3f}"]
        for pair in look.copies[:COPIES]
        for one, other in [(pair.one, pair.other)]
    ]
    more = f" ({len(look.copies)}, of which {COPIES} are shown)" if len(look.copies) > COPIES else ""
    columns = ["image", "split", "nearly the same", "split", "correlation"]
    return Section(
        "copies",
        "Nearly the same in two splits",
        [said],
        tables=[Table(f"Pairs, the most similar first{more}", columns, rows, numeric=False)],
    )


def _sizes(images: Sequence[Seen]) -> Table:
    counts = Counter(image.shape for image in images)
    rows = [["×".join(map(str, shape)), str(count)] for shape, count in counts.most_common(SIZES)]
    more = [f"{len(counts) - SIZES} more sizes are not listed."] if len(counts) > SIZES else []
    return Table("Sizes in pixels or voxels, after all steps", ["size", "images"], rows, notes=more)


def _spacings(images: Sequence[Seen]) -> Iterator[Table]:
    known = [image.spacing for image in images if image.spacing is not None]
    if known and len({len(spacing) for spacing in known}) == 1:
        rows = [
            [f"axis {k}", *(f"{value:.3g}" for value in (np.min(axis), np.median(axis), np.max(axis)))]
            for k, axis in enumerate(zip(*known, strict=True))
        ]
        yield Table("Spacing, mm", ["", "lowest", "median", "highest"], rows)


def _intensities(look: Look) -> Picture:
    values = {part: [s.mean for s in look.images if s.split == part] for part in look.splits}
    return _histogram("intensities", "Mean intensity of each image", "mean intensity, as stored", values)


def _histogram(name: str, title: str, axis: str, values: dict[Any, list[float]]) -> Picture:
    """A histogram of all splits, stacked."""
    drawn = figure(2.6)
    axes = drawn.subplots()
    axes.hist(list(values.values()), bins=30, stacked=True, label=list(values))
    axes.set(xlabel=axis, ylabel="images")
    axes.legend()
    every = [value for part in values.values() for value in part]
    return Picture(
        name,
        title,
        f"Histogram of {len(every)} images, from {min(every):.4g} to {max(every):.4g}, median {np.median(every):.4g}.",
        "All splits, stacked. Images far from the others may come from another device, or be damaged.",
        drawn,
    )


def _areas(look: Look) -> Table:
    names = look.site.dataset.options.names
    rows = []
    for k, name in enumerate(names):
        shares = [image.shares[k] for image in look.images if image.shares[k] > 0]
        told = (
            [f"{100 * value:.3g} %" for value in (min(shares), float(np.median(shares)), max(shares))] if shares else []
        )
        rows.append([name, str(len(shares)), *(told or [MISSING] * 3)])
    return Table(
        "Share of the voxels, where the class occurs", ["class", "images", "lowest", "median", "highest"], rows
    )


def _sharing(look: Look) -> list[str]:
    """What would be wrong to share, by what the data are."""
    said = [
        "Don't share this page: it shows images, and names of files and patients.",
        "You may share the numbers of images and patients of each split and class, and the medians of spacings and "
        "areas, if your data protection officer agrees. They describe groups, not persons. Leave out lowest and "
        "highest values, targets and rare sizes, which belong to single images.",
    ]
    groups = Counter(
        (part, name)
        for part in look.splits
        for name, patients in _patients_by_class(look, part).items()
        if 0 < len(patients) < FEW
    )
    if groups:
        told = ", ".join(f"{name} in {part}" for part, name in groups)
        said.append(
            f"Leave out the counts of groups with fewer than {FEW} patients, which may point to a person: {told}."
        )
    named = sum(image.record.patient.lower() in image.record.id.lower() for image in look.images)
    if named:
        said.append(
            f"In {named} of {len(look.images)} images, the name contains the patient's. Names stay at the site, "
            "as do predicted masks and tables of single images, which have them. If patients' names are no pseudonyms, "
            "replace them first."
        )
    return said


def _patients_by_class(look: Look, part: str) -> dict[str, set[str]]:
    options = look.site.dataset.options
    names = [] if options.task == "regression" else options.names
    seen = [image for image in look.images if image.split == part]
    everyone = {"all patients": {s.record.patient for s in seen}}
    return everyone | {name: {s.record.patient for s in seen if _has(s, k)} for k, name in enumerate(names)}
