"""The rows of the table of results: what was found in an image, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from relay.bulk.looking import Found
from relay.data import Pixels
from relay.tasks import Task

UNITS = {3: ("ml", 1e-3), 2: ("mm2", 1.0)}
"""By the number of axes: the unit of what a class covers, and how much of it a cubic or square millimetre is."""


def covered(mask: Pixels, spacing: Sequence[float] | None, classes: int) -> tuple[str, list[float]]:
    """How much of an image each class covers: in ml, of a volume; in mm², of a picture with a pixel size; else in
    pixels.

    Args:
        spacing: millimetres per voxel along each axis; None if it isn't known.
    """
    counts = np.bincount(mask.ravel(), minlength=classes)[:classes]
    if spacing is None:
        return "pixels" if mask.ndim == 2 else "voxels", [float(count) for count in counts]
    unit, factor = UNITS[mask.ndim]
    return unit, [float(count) * prod(spacing) * factor for count in counts]


def rows_of(found: Found, task: Task, spacing: Sequence[float] | None) -> list[dict[str, Any]]:
    """A row for an image or, of a task without masks, for each slice that was predicted.

    Args:
        spacing: as for :func:`covered`.
    """
    return list(_of_mask(found, found.mask, task, spacing) if found.mask is not None else _of_answers(found, task))


def _of_mask(found: Found, mask: Pixels, task: Task, spacing: Sequence[float] | None) -> Iterator[dict[str, Any]]:
    unit, much = covered(mask, spacing, task.outputs)
    row = {f"{name} [{unit}]": _short(value) for name, value in list(zip(task.names, much, strict=True))[1:]}
    yield row | _doubt(found, 0)


def _of_answers(found: Found, task: Task) -> Iterator[dict[str, Any]]:
    for number, answer in enumerate(found.answers):
        where = {} if found.image.across is None else {"slice": number}
        kind = "" if task.likelihood == "gaussian" else "p "
        told = {} if task.likelihood == "gaussian" else {"predicted": predicted(answer, task) or "none"}
        each = {f"{kind}{name}": _short(value) for name, value in zip(task.names, answer, strict=True)}
        yield {**where, **told, **each, **_doubt(found, number)}


def predicted(answer: Sequence[float], task: Task) -> str:
    """The class; or all labels, separated by ``|``."""
    if task.likelihood == "bernoulli":
        return "|".join(name for name, value in zip(task.names, answer, strict=True) if value > 0.5)
    return task.names[int(np.argmax(answer))]


def _doubt(found: Found, number: int) -> dict[str, Any]:
    return {"uncertainty": _short(found.doubts[number])} if found.doubts else {}


def _short(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")  # counts stay exact
