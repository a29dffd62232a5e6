"""Predict images without a truth: a mask and an overlay of each; of a task without masks, a table of all."""

from __future__ import annotations

import csv
import io
import logging
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relay.config import Devices
from relay.data import (
    WHOLE,
    Case,
    Pixels,
    check_image,
    find_series,
    is_series,
    prepared_slices,
    read_images,
    refuse,
    scaled,
    stacked,
    stem,
    viewable,
)
from relay.errors import DataError, UserError, first_line
from relay.files import unreadable, write_text
from relay.leg import Progress, digest, predict, resized, slabs
from relay.logs import hide
from relay.numbers import sheet_cell
from relay.overlay import save_overlay
from relay.postprocess import cleaned, steps_of
from relay.predict.masks import save_mask
from relay.predict.models import Model
from relay.tasks import Task

KINDS = (
    "Give a 2D image (.png, .jpg, .tif, …), a volume in one file (.nii.gz, .mha, .nrrd, …), a DICOM series, or a "
    "folder of them."
)
log = logging.getLogger(__name__)
Warn = Callable[[str], None]
LONGEST = 50
"""How many characters of an image's name its mask's name keeps."""


def images_in(given: Sequence[Path]) -> list[Path]:
    """The given images: files, and those in folders, each once.

    Raises:
        UserError: one does not exist or is not a file, or a folder has no images.
    """
    found: list[Path] = []
    for path in given:
        if is_series(path) and not path.is_dir():
            found.append(path)
            continue
        try:
            mode = path.stat().st_mode
            found += _inside(path) if stat.S_ISDIR(mode) else [path]
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}", f"Check the path. {KINDS}") from error
        if why := unreadable(path):
            raise UserError(f"{path} is {why}", "Copy it to a file first, and name that file.")
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    """The images in a folder, and the DICOM series there and in its subfolders."""
    files = sorted(path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith("."))
    images = [path for path in files if path.name.lower().endswith(WHOLE)]
    lost = [f"{path}: {why}" for path in images if (why := unreadable(path))]
    refuse(lost, f"{folder}: can't be read", "Mount what links lead to, or remove these files.")
    images += [series.path for series in find_series(folder) if series.scan]
    if not images:
        below = " itself; its subfolders are not searched" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise UserError(f"there are no images in {folder}{below}", KINDS)
    return images


def predict_images(
    model: Model, paths: Sequence[Path], folder: Path, devices: Devices, progress: Progress, warn: Warn
) -> Iterator[Path]:
    """Predict images; yield the path of each mask and overlay, or of the table of all, after writing it.

    For a model of several channels, files ``NAME_0000``, ``NAME_0001``, … are the channels of one image, as nnU-Net
    names them; or one file is an image, if all channels are windows of it. Names of masks contain the image's name and
    an 8-digit hash of its content, its path and the weights, so another image or another model never overwrites them.

    Args:
        warn: called with everything suspicious about an image.

    Raises:
        DataError: some can't be read, or don't suit this model; the others are predicted first.
    """
    net, made, dense = model.net(devices), model.digest, model.leg.data.does.dense
    problems: list[DataError] = []
    lines: list[list[str]] = []
    whole = sha256()
    images = images_of(paths, model.leg.data)
    for files in progress.counted(images, "predicting"):
        try:
            name = _identity(files, made)
            if dense:
                place = folder / model.folder / f"{files[0].name[:LONGEST]}-{name}"
                yield from _masks(model, net, files, place, warn)
            else:
                lines += answers_of(model, net, files, warn, progress.say)
                whole.update(name.encode())
        except DataError as error:
            problems.append(error)
    if lines:
        yield save_answers(lines, model.leg.data.does, folder / model.folder / f"{whole.hexdigest()[:8]}_answers.csv")
    if len(problems) == len(images) == 1:
        raise DataError(str(problems[0]), problems[0].own_advice or KINDS)
    done = len(images) - len(problems)
    told = f"{done} predicted; " if done else ""
    refuse(problems, f"{told}not predicted, out of {len(images)} images", "Fix or leave out these files.")


class Takes(Protocol):
    """What a model takes as one image."""

    @property
    def channels(self) -> int:
        """The number of channels."""

    @property
    def one_file(self) -> bool:
        """Whether all channels are of one file."""


def images_of(paths: Sequence[Path], options: Takes) -> list[tuple[Path, ...]]:
    """The files of each image: those in one folder whose names differ only in the number of the channel; or one file
    for all channels."""
    if options.channels == 1 or options.one_file:
        return [(path,) * options.channels for path in paths]
    found: dict[object, list[Path]] = {}
    for path in paths:
        numbered = re.fullmatch(r"(.+)_\d{4}", stem(path))
        found.setdefault((path.parent, numbered[1]) if numbered else path, []).append(path)
    return [tuple(sorted(files)) for files in found.values()]


def _identity(files: Sequence[Path], made: str) -> str:
    """A hash that identifies this image and this model."""
    told = "\n".join(f"{path.resolve()}\n{digest(path)}" for path in files)
    return sha256(f"{told}\n{made}".encode(errors="surrogateescape")).hexdigest()[:8]


def _masks(model: Model, net: nn.Module, files: Sequence[Path], place: Path, warn: Warn) -> Iterator[Path]:
    """Predict an image's mask; of a volume, slice by slice if the model was trained on slices.

    Raises:
        DataError: it can't be read, or does not suit this model.
    """
    read, cases, across = prepare(model, net, files, warn)
    shape = read.image.shape[:-1]
    size = shape if across is None else tuple(side for axis, side in enumerate(shape) if axis != across)
    masks = [_mask(model, net, each, size, files[0]) for each in cases]
    mask = masks[0] if across is None else stacked(masks, across)
    yield save_mask(mask, files[0], place.with_name(f"{place.name}_mask"))
    yield save_overlay(viewable(read.image), mask, None, place.with_name(f"{place.name}_overlay"))


def answers_of(model: Model, net: nn.Module, files: Sequence[Path], warn: Warn, say: Warn) -> list[list[str]]:
    """What a model without masks says of an image, or of each slice of a volume: lines of a table, told as well.

    Raises:
        DataError: it can't be read, or does not suit this model.
    """
    task, lines = model.leg.data.does, []
    _, cases, across = prepare(model, net, files, warn)
    for number, case in enumerate(cases):
        answer = task.answer(logits(model, net, case, files[0]))[0].tolist()
        where = "" if across is None else str(number)
        lines.append([str(files[0]), where, task.told(answer), *(f"{value:.6g}" for value in answer)])
        say(f"{files[0].name}{f', slice {where}' if where else ''}: {task.told(answer)}")
    return lines


def save_answers(lines: Sequence[Sequence[str]], task: Task, path: Path) -> Path:
    """Write the lines of :func:`answers_of` as CSV, with a column for each of the task's outputs."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(sheet_cell, line) for line in [["image", "slice", "predicted", *task.names], *lines])
    write_text(path, text.getvalue())
    return path


def prepare(model: Model, net: nn.Module, files: Sequence[Path], warn: Warn) -> tuple[Case, list[Case], int | None]:
    """An image as read; as the net sees it, or each of its slices; and the axis across these, None for none.

    Raises:
        DataError: it can't be read, or does not suit this model.
    """
    path = files[0]
    case = read_images(files, eight_bits=model.leg.data.steps is None)
    cases, across = cases_of(model, net, case, path)
    hide([path.name, stem(path)])
    for note in cases[0].notes:
        log.warning("%s: %s", path, note)
        warn(f"{path}: {note}")
    return case, cases, across


def cases_of(model: Model, net: nn.Module, case: Case, path: Path) -> tuple[list[Case], int | None]:
    """An image as the net sees it, or each of its slices; and the axis across these, None for none.

    Args:
        case: the image as read.
        path: its file, for messages.

    Raises:
        DataError: it does not suit this model.
    """
    options, shape = model.leg.data, case.image.shape[:-1]
    axes, across = axes_of(model, net), options.slice_axis
    by_slices = across is not None and len(shape) == 3
    check_image(path, case.image.shape, [axes + by_slices], options.channels)
    numbers = range(shape[across]) if by_slices and across is not None else [None]
    return prepared_slices(case, options, path, numbers), across if by_slices else None


def probabilities(
    model: Model, net: nn.Module, case: Case, path: Path
) -> Iterator[tuple[tuple[slice, ...], NDArray[np.float32]]]:
    """Of each class in each voxel of an image as read, in parts: where a part lies in the image, and ``(C, *part)``. A
    volume's are its slices if the model was trained on slices.

    Args:
        net: the model's, on its device.
        case: the image as read.
        path: its file, for messages.

    Raises:
        DataError: it does not suit this model.
    """
    options, shape = model.leg.data, case.image.shape[:-1]
    axis = options.slice_axis if len(shape) == 3 else None
    size = tuple(side for place, side in enumerate(shape) if place != axis)
    cases = prepared_slices(case, options, path, [None] if axis is None else range(shape[axis]))
    if axis is None:
        for rows, found in slabs(logits(model, net, cases[0], path), size, cases[0].grid):
            yield (rows,), found[0].float().cpu().numpy()
        return
    for number, each in enumerate(cases):
        likely = resized(logits(model, net, each, path), size, each.grid)[0].float().cpu().numpy()
        place = (*[slice(None)] * axis, slice(number, number + 1))
        yield place, np.stack([stacked([one], axis) for one in likely])


def _mask(model: Model, net: nn.Module, case: Case, size: tuple[int, ...], path: Path) -> Pixels:
    """The mask of a prepared image, on the grid of the image as read."""
    parts = slabs(logits(model, net, case, path), size, case.grid)
    mask = np.concatenate([found.argmax(1)[0].to(torch.uint8).cpu().numpy() for _, found in parts])
    return cleaned(mask, steps_of(model.leg.conf.predict.postprocess))


def logits(model: Model, net: nn.Module, case: Case, path: Path) -> Tensor:
    """What a net says of a prepared image, or of a prepared slice: ``(1, outputs, *S)`` or ``(1, outputs)``.

    Args:
        net: the model's, on its device.
        path: the image's file, for messages.

    Raises:
        DataError: the net can't take an image of this size.
    """
    options = model.leg.data
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(case.image, -1, 0)))[None]
    return _through(net, scaled(batch, options.intensity_range), options.patch_size, path)


def axes_of(model: Model, net: nn.Module) -> int:
    """Number of axes of the model's images: from the config, else from the kernels of its convolutions."""
    size = model.leg.data.fixed_size or model.leg.data.patch_size
    return len(size) if size else max(weight.ndim for weight in net.state_dict().values()) - 2


def _through(net: nn.Module, image: Tensor, patch: Sequence[int] | None, path: Path) -> Tensor:
    try:
        return predict(net, image.to(next(net.parameters()).device), patch)
    except (RuntimeError, ValueError) as error:  # raised by nets for an unsupported size or for too little memory
        size = "×".join(map(str, image.shape[2:]))
        raise DataError(f"{path}: the net can't process an image of {size}: {first_line(error)}") from error
