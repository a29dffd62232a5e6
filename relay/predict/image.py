"""Predict images without a truth: a mask and an overlay of each."""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from relay.config import Devices
from relay.data import (
    PICTURES,
    VOLUMES,
    Case,
    DatasetOptions,
    Pixels,
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
from relay.errors import DataError, UserError
from relay.leg import Progress, digest, predict, resized
from relay.overlay import save_overlay
from relay.postprocess import cleaned, steps_of
from relay.predict.masks import save_mask
from relay.predict.models import Model

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
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # it may have no end
            raise UserError(
                f"{path} is not a file, but a pipe or a device", "Copy it to a file first, and name that file."
            )
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    """The images in a folder, and the DICOM series there and in its subfolders."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    endings = tuple(ending for ending in PICTURES + VOLUMES if ending != ".dcm")
    images = [path for path in files if path.name.lower().endswith(endings)]
    images += [series.path for series in find_series(folder) if series.scan]
    if not images:
        below = " itself; its subfolders are not searched" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise UserError(f"there are no images in {folder}{below}", KINDS)
    return images


def predict_images(
    model: Model, paths: Sequence[Path], folder: Path, devices: Devices, progress: Progress, warn: Warn
) -> Iterator[Path]:
    """Predict images; yield the path of each mask and overlay after writing it.

    For a model of several channels, files ``NAME_0000``, ``NAME_0001``, … are the channels of one image, as nnU-Net
    names them; or one file is an image, if all channels are windows of it. Names of masks contain the image's name and
    an 8-digit hash of its content, its path and the weights, so another image or another model never overwrites them.

    Args:
        warn: called with everything suspicious about an image.

    Raises:
        DataError: some can't be read, or don't suit this model; the others are predicted first.
    """
    net, made = model.net(devices), model.digest
    problems: list[DataError] = []
    images = _images(paths, model.leg.data)
    for files in progress.counted(images, "predicting"):
        path = files[0]
        try:
            image, mask = _predicted(model, net, files, warn)
        except DataError as error:
            problems.append(error)
            continue
        place = folder / model.folder / f"{path.name[:LONGEST]}-{_identity(files, made)}"
        yield save_mask(mask, path, place.with_name(f"{place.name}_mask"))
        yield save_overlay(image, mask, None, place.with_name(f"{place.name}_overlay"))
    if len(problems) == len(images) == 1:
        raise DataError(str(problems[0]), problems[0].own_advice or KINDS)
    refuse(
        problems,
        f"not predicted, out of {len(images)} images",
        "Fix or leave out these files. The others are predicted.",
    )


def _images(paths: Sequence[Path], options: DatasetOptions) -> list[tuple[Path, ...]]:
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


def _predicted(model: Model, net: nn.Module, files: Sequence[Path], warn: Warn) -> tuple[Pixels, Pixels]:
    """An image, to look at, and its mask; of a volume, slice by slice if the model was trained on slices.

    Raises:
        DataError: it can't be read, or does not suit this model.
    """
    options = model.leg.data
    path, case = files[0], read_images(files, eight_bits=options.steps is None)
    shape, axes, across = case.image.shape[:-1], _axes(model, net), options.slice_axis
    by_slices = across is not None and len(shape) == 3
    if len(shape) - by_slices != axes:
        kinds = {2: "2D images (2 axes)", 3: "volumes (3 axes)"}
        raise DataError(f"{path} has {len(shape)} axes; the model was trained on {kinds.get(axes, f'{axes} axes')}")
    numbers = range(shape[across]) if by_slices and across is not None else [None]
    cases = prepared_slices(case, options, path, numbers)
    for note in cases[0].notes:
        log.warning("%s: %s", path, note)
        warn(f"{path}: {note}")
    size = shape if not by_slices else tuple(side for axis, side in enumerate(shape) if axis != across)
    masks = [_mask(model, net, each, size, path) for each in cases]
    return viewable(case.image), stacked(masks, across) if by_slices and across is not None else masks[0]


def _mask(model: Model, net: nn.Module, case: Case, size: tuple[int, ...], path: Path) -> Pixels:
    """The mask of a prepared image, on the grid of the image as read."""
    options = model.leg.data
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(case.image, -1, 0)))[None]
    logits = _through(net, scaled(batch, options.intensity_range), options.patch_size, path)
    mask = resized(logits, size, case.grid).argmax(1)[0].to(torch.uint8).cpu().numpy()
    return cleaned(mask, steps_of(model.leg.conf.predict.postprocess))


def _axes(model: Model, net: nn.Module) -> int:
    """Number of axes of the model's images: from the config, else from the kernels of its convolutions."""
    size = model.leg.data.fixed_size or model.leg.data.patch_size
    return len(size) if size else max(weight.ndim for weight in net.state_dict().values()) - 2


def _through(net: nn.Module, image: Tensor, patch: Sequence[int] | None, path: Path) -> Tensor:
    try:
        return predict(net, image.to(next(net.parameters()).device), patch)
    except (RuntimeError, ValueError) as error:  # raised by nets for an unsupported size or for too little memory
        size = "×".join(map(str, image.shape[2:]))
        raise DataError(f"{path}: the net can't process an image of {size}: {str(error).splitlines()[0]}") from error
