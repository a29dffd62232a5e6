"""A config for a further site, with the plan of a study that has begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relay.config import dump
from relay.data import suits
from relay.errors import UserError
from relay.start.drafting import MASKED, WORDED, Draft, folded, look, made
from relay.start.fingerprint import Fingerprint
from relay.start.sources import Source

TRAVELS = (
    "task",
    "num_classes",
    "class_names",
    "channels",
    "steps",
    "slices",
    "img_size",
    "patch_size",
    "intensity_range",
    "target_scale",
)
"""Options of the data set that are the study's, not a site's: one model reads all images."""
OWN = ("val_fraction", "test_fraction", "repeats", "foreground", "augment")
"""Options of the data set that a site takes over, but may change."""
FAR = 2.0
"""Sizes in voxels that differ by more than this factor are worth a warning."""


def fit(source: Source, site: str, plan: Mapping[str, Any], name: str) -> Draft:
    """A config for this site's images with the plan of a study.

    Args:
        plan: The blocks of the study's config.
        name: What to call it in messages.

    Raises:
        UserError: the images do not fit the plan; the advice says what can be done.
    """
    common = dict(plan.get("common") or {})
    theirs = _theirs(common, plan)
    kept = {key: theirs[key] for key in (*TRAVELS, *OWN) if key in theirs}
    words = _words(source, theirs, name)
    known = {"class_names": kept["class_names"]} if source.kwargs.get("class_names") and "class_names" in kept else {}
    found = look(source.dataset, {"task": "segmentation", **source.kwargs, **words, **known}, site)
    _refuse_images(found, kept, name)
    kwargs = {**source.kwargs, **words, **{key: value for key, value in kept.items() if value is not None}}
    masked = source.dataset in MASKED and not set(found.values) <= set(range(kept.get("num_classes", 255)))
    if masked and len(found.values) == kept.get("num_classes"):
        kwargs["mask_values"] = list(found.values)
    common["dataset"] = {"name": source.dataset, "kwargs": kwargs}
    blocks = {
        "common": common,
        "all_tasks_datasets": [{"kwargs": {"task_id": _next(plan), "task_name": site}}],
        "current_tasks": {"task_ids": [_next(plan)]},
    }
    head = f"# Written by relay init: the plan of {name}, with the images of {site}. Keep what is in common the same.\n"
    return Draft(head + dump(blocks), found, [*_values(kwargs, found, masked), *_notes(found, kept)])


def _theirs(common: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The study's options of data, with what its data set says by itself: of its first site, if they differ."""
    first: Mapping[str, Any] = next(iter(plan.get("all_tasks_datasets") or []), {})
    block = {**(common.get("dataset") or {}), **first}
    given = {**((common.get("dataset") or {}).get("kwargs") or {}), **(first.get("kwargs") or {})}
    options = made(str(block.get("name")), given).options
    return {key: getattr(options, key) for key in ("task", "num_classes", "class_names", "channels")} | given


def _next(plan: Mapping[str, Any]) -> int:
    """A number that no site of the study has."""
    ids = [(each.get("kwargs") or {}).get("task_id") for each in plan.get("all_tasks_datasets") or []]
    return 1 + max((number for number in ids if isinstance(number, int)), default=0)


def _words(source: Source, plan: Mapping[str, Any], name: str) -> dict[str, list[str]]:
    """The task and the classes compared, before any image is read: how this site writes the study's classes.

    Raises:
        UserError: the task is another, or there is a class that the study does not have.
    """
    task, mine = plan.get("task", "segmentation"), source.kwargs.get("task", "segmentation")
    if task != mine:
        raise UserError(f"{name} is for {task}, but these images are for {mine}", "Give images with such targets.")
    names, theirs = source.kwargs.get("class_names"), plan.get("class_names")
    key = WORDED.get(source.dataset)
    if not names or not theirs:
        return {}
    if source.numbers:
        known = plan.get("label_values") or [str(k) for k in range(len(theirs))]
        _refuse_classes([each for each in source.numbers if each not in known], known, name)
        return {"label_values": known}
    written = dict(zip(folded(names), names, strict=True))
    _refuse_classes([written[each] for each in written if each not in theirs], theirs, name)
    words = [written.get(each, each) for each in theirs]
    return {} if key is None or words == theirs else {key: words}


def _refuse_classes(extra: Sequence[str], known: Sequence[str], name: str) -> None:
    if extra:
        raise UserError(
            f"{name} does not know the classes {', '.join(sorted(extra))}; it has {', '.join(known)}",
            "Rename or remove them here, so that all sites have the same.",
        )


def _refuse_images(found: Fingerprint, plan: Mapping[str, Any], name: str) -> None:
    """Compare axes, channels and the masks' values."""
    axes = len(plan.get("patch_size") or plan.get("img_size") or found.shape)
    if axes == 2 and plan.get("slices"):
        axes = 3
    if axes != found.axes:
        cure = "Set slices: axial in the study's config, for all sites." if found.axes == 3 else "Give volumes."
        raise UserError(f"{name} is for {axes}D images, but these are {found.axes}D", cure)
    channels = plan.get("channels", 3)
    if not suits(found.channels, channels):
        raise UserError(
            f"{name} needs {channels} channels, but these images have {found.channels}",
            "Give the same channels in the same order (the data set's image columns or file names), or have the study "
            "planned again with the channels that all sites have.",
        )
    if found.values and len(found.values) > plan.get("num_classes", 255):
        values = ", ".join(map(str, found.values))
        raise UserError(
            f"the masks have the values {values}, but {name} has {plan['num_classes']} classes",
            "Merge or remove the others in the masks.",
        )


def _values(kwargs: Mapping[str, Any], found: Fingerprint, masked: bool) -> list[str]:
    """What must be known about the masks' values where these are no class numbers."""
    if not masked:
        return []
    values = ", ".join(map(str, found.values))
    if "mask_values" in kwargs:
        return [f"the masks have the values {values}, taken for the classes in this order: check mask_values"]
    many = kwargs.get("num_classes")
    return [f"the masks have the values {values}, but there are {many} classes: set mask_values, a value for each"]


def _notes(found: Fingerprint, plan: Mapping[str, Any]) -> list[str]:
    notes = []
    size = plan.get("patch_size") or plan.get("img_size")
    if size and len(size) == found.axes and any(n < side / FAR for n, side in zip(found.shape, size, strict=True)):
        told = "×".join(map(str, found.shape))
        notes.append(f"the images ({told}) are much smaller than the plan's {size}: they are filled up by reflection")
    for step in plan.get("steps") or []:
        wanted = (step.get("kwargs") or {}).get("spacing")
        if step.get("name") == "Resample" and found.spacing is None:
            notes.append("the files give no spacing in mm, which the plan's step Resample needs")
        elif wanted and found.spacing and len(wanted) == len(found.spacing):
            pairs = [(mm, new) for mm, new in zip(found.spacing, wanted, strict=True) if new]
            if any(not 1 / FAR <= mm / new <= FAR for mm, new in pairs):
                notes.append(
                    f"the spacing here is {found.spacing} mm, and is resampled to {wanted} mm: check the result"
                )
        window = (step.get("kwargs") or {}).get("how") == "window"
        if step.get("name") == "Normalise" and window and found.kind != "CT":
            notes.append("the plan keeps Hounsfield units, but these images seem to be no CT")
    return notes
