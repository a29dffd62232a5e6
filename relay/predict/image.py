"""Images without a truth: the mask of each, and a picture of it."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from relay.config import Devices
from relay.data import PICTURES, VOLUMES, Pixels, as_channels, is_dicom, read_noted, refuse, resize_image, scaled
from relay.errors import DataError, UserError
from relay.leg import Progress, digest, predict, resized
from relay.overlay import save_overlay
from relay.predict.masks import save_mask
from relay.predict.models import Model

KINDS = "Give a picture (.png, .jpg, .tif, …), a volume in one file (.nii.gz, .mha, .nrrd, …), or a folder of them."
log = logging.getLogger(__name__)
Warn = Callable[[str], None]
LONGEST = 50
"""Characters of an image's name that are kept in that of its mask."""


def images_in(given: Sequence[Path]) -> list[Path]:
    """The images that were named: files, and those that lie in folders; each once.

    Raises:
        UserError: one is not there, is no file, or a folder has no images.
    """
    found: list[Path] = []
    for path in given:
        try:
            mode = path.stat().st_mode
            found += _inside(path) if stat.S_ISDIR(mode) else [path]
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}", f"Check the path. {KINDS}") from error
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # it may have no end
            raise UserError(f"{path} is not a file, but a pipe or a device", "Copy it to a file first, and name that.")
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if slices := [path for path in files if is_dicom(path)]:
        raise UserError(
            f"{folder} holds {len(slices)} DICOM files; a series of slices can't be read as a volume yet",
            "Make one .nii.gz of it (dcm2niix does), and name that. Single .dcm files, named one by one, are pictures.",
        )
    if not (images := [path for path in files if path.name.lower().endswith(PICTURES + VOLUMES)]):
        below = " itself; folders in it are not looked into" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise UserError(f"there are no images in {folder}{below}", KINDS)
    return images


def predict_images(
    model: Model, paths: Sequence[Path], folder: Path, devices: Devices, progress: Progress, warn: Warn
) -> Iterator[Path]:
    """Predict images; yields the file of each mask and of each overlay once they are written.

    They are named after the image, and after what it holds, where it lies and which weights were used, in eight digits:
    another image or another model never takes their place.

    Args:
        warn: is told what is suspicious about an image.

    Raises:
        DataError: some can't be read, or are none for this model; the others are predicted first.
    """
    net, made = model.net(devices), model.digest
    problems: list[DataError] = []
    for path in progress.counted(paths, "predicting"):
        try:
            image, mask = _predicted(model, net, path, warn)
        except DataError as error:
            problems.append(error)
            continue
        place = folder / model.folder / f"{path.name[:LONGEST]}-{_identity(path, made)}"
        yield save_mask(mask, path, place.with_name(f"{place.name}_mask"))
        yield save_overlay(image, mask, None, place.with_name(f"{place.name}_overlay"))
    if len(problems) == len(paths) == 1:
        raise DataError(str(problems[0]), problems[0].own_advice or KINDS)
    refuse(
        problems, f"not predicted, of {len(paths)} images", "Fix or leave out these files. The others are predicted."
    )


def _identity(path: Path, made: str) -> str:
    """What tells this image and this model from all others."""
    return sha256(f"{path.resolve()}\n{digest(path)}\n{made}".encode(errors="surrogateescape")).hexdigest()[:8]


def _predicted(model: Model, net: nn.Module, path: Path, warn: Warn) -> tuple[Pixels, Pixels]:
    """An image, and its mask.

    Raises:
        DataError: it can't be read, or is none for this model.
    """
    options = model.leg.data
    image, _, notes = read_noted(path)
    shape, axes = image.shape[:-1], _axes(model)
    if len(shape) != axes:
        kinds = {2: "pictures (2 axes)", 3: "volumes (3 axes)"}
        raise DataError(f"{path} has {len(shape)} axes; the model was trained on {kinds.get(axes, f'{axes} axes')}")
    for note in notes:
        log.warning("%s: %s", path, note)
        warn(f"{path}: {note}")
    pixels = as_channels(image, options.channels)
    if options.img_size is not None and tuple(options.img_size) != shape:
        pixels = resize_image(pixels, options.img_size)
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None]
    logits = _through(net, scaled(batch, options.intensity_range), options.patch_size, path)
    return image, resized(logits, shape).argmax(1)[0].to(torch.uint8).cpu().numpy()


def _axes(model: Model) -> int:
    """Of the images that the model takes: as the config says, else as the kernels of its convolutions have."""
    size = model.leg.data.img_size or model.leg.data.patch_size
    return len(size) if size else max(weight.ndim for weight in model.weights.values()) - 2


def _through(net: nn.Module, image: Tensor, patch: Sequence[int] | None, path: Path) -> Tensor:
    try:
        return predict(net, image.to(next(net.parameters()).device), patch)
    except (RuntimeError, ValueError) as error:  # what a net says of a size that it can't take, or of too little memory
        size = "×".join(map(str, image.shape[2:]))
        raise DataError(f"{path}: the net can't take an image of {size}: {str(error).splitlines()[0]}") from error
