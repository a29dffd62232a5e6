"""Predict images without a truth: a mask and an overlay of each."""

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
from relay.postprocess import cleaned, steps_of
from relay.predict.masks import save_mask
from relay.predict.models import Model

KINDS = "Give a 2D image (.png, .jpg, .tif, …), a volume in one file (.nii.gz, .mha, .nrrd, …), or a folder of them."
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
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if slices := [path for path in files if is_dicom(path)]:
        raise UserError(
            f"{folder} has {len(slices)} DICOM files; reading a series of slices as a volume is not supported yet",
            "Convert it to one .nii.gz (for example with dcm2niix), and name that. To predict single files, name each.",
        )
    if not (images := [path for path in files if path.name.lower().endswith(PICTURES + VOLUMES)]):
        below = " itself; its subfolders are not searched" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise UserError(f"there are no images in {folder}{below}", KINDS)
    return images


def predict_images(
    model: Model, paths: Sequence[Path], folder: Path, devices: Devices, progress: Progress, warn: Warn
) -> Iterator[Path]:
    """Predict images; yield the path of each mask and overlay after writing it.

    Their names contain the image's name and an 8-digit hash of its content, its path and the weights, so
    another image or another model never overwrites them.

    Args:
        warn: called with everything suspicious about an image.

    Raises:
        DataError: some can't be read, or don't suit this model; the others are predicted first.
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
        problems,
        f"not predicted, out of {len(paths)} images",
        "Fix or leave out these files. The others are predicted.",
    )


def _identity(path: Path, made: str) -> str:
    """A hash that identifies this image and this model."""
    return sha256(f"{path.resolve()}\n{digest(path)}\n{made}".encode(errors="surrogateescape")).hexdigest()[:8]


def _predicted(model: Model, net: nn.Module, path: Path, warn: Warn) -> tuple[Pixels, Pixels]:
    """An image, and its mask.

    Raises:
        DataError: it can't be read, or does not suit this model.
    """
    options = model.leg.data
    image, _, notes = read_noted(path)
    shape, axes = image.shape[:-1], _axes(model, net)
    if len(shape) != axes:
        kinds = {2: "2D images (2 axes)", 3: "volumes (3 axes)"}
        raise DataError(f"{path} has {len(shape)} axes; the model was trained on {kinds.get(axes, f'{axes} axes')}")
    for note in notes:
        log.warning("%s: %s", path, note)
        warn(f"{path}: {note}")
    pixels = as_channels(image, options.channels)
    if options.img_size is not None and tuple(options.img_size) != shape:
        pixels = resize_image(pixels, options.img_size)
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None]
    logits = _through(net, scaled(batch, options.intensity_range), options.patch_size, path)
    mask = resized(logits, shape).argmax(1)[0].to(torch.uint8).cpu().numpy()
    return image, cleaned(mask, steps_of(model.leg.conf.predict.postprocess))


def _axes(model: Model, net: nn.Module) -> int:
    """Number of axes of the model's images: from the config, else from the kernels of its convolutions."""
    size = model.leg.data.img_size or model.leg.data.patch_size
    return len(size) if size else max(weight.ndim for weight in net.state_dict().values()) - 2


def _through(net: nn.Module, image: Tensor, patch: Sequence[int] | None, path: Path) -> Tensor:
    try:
        return predict(net, image.to(next(net.parameters()).device), patch)
    except (RuntimeError, ValueError) as error:  # raised by nets for an unsupported size or for too little memory
        size = "×".join(map(str, image.shape[2:]))
        raise DataError(f"{path}: the net can't process an image of {size}: {str(error).splitlines()[0]}") from error
