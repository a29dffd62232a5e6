"""One image: its mask, and a picture of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from relay.config.devices import Devices
from relay.data.files import stem
from relay.data.read import read_image
from relay.data.sizes import as_channels, resize_image
from relay.errors import DataError
from relay.leg.evaluate import resized
from relay.leg.predict import predict, scale
from relay.overlay import save_overlay
from relay.predict.masks import save_mask
from relay.predict.models import Model


def predict_image(model: Model, path: Path, folder: Path, devices: Devices) -> tuple[Path, Path]:
    """Predict one image, which needs no truth; returns the mask's file and the overlay's.

    Raises:
        DataError: it can't be read, or is not of the number of axes that the model was trained on.
    """
    options = model.leg.data
    image, _ = read_image(path)
    size = options.img_size or options.patch_size
    if size is not None and len(size) != image.ndim - 1:
        raise DataError(
            f"{path} has {image.ndim - 1} axes, the model was trained on images of {len(size)}",
            "Give a picture for a 2D model, a volume for a 3D one.",
        )
    shape = image.shape[:-1]
    pixels = as_channels(image, options.channels)
    if options.img_size is not None and tuple(options.img_size) != shape:
        pixels = resize_image(pixels, options.img_size)
    solver = model.solver(devices)
    device = next(solver.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None].to(device)
    logits = predict(solver, scale(batch, options.out_range), options.patch_size)
    mask = resized(logits, shape).argmax(1)[0].to(torch.uint8).cpu().numpy()
    place = folder / stem(path)
    return (
        save_mask(mask, path, place.with_name(f"{place.name}_mask")),
        save_overlay(image, mask, None, place.with_name(f"{place.name}_overlay")),
    )
