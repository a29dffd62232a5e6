"""Predicted masks as files, in the geometry of the image they were made from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from relay.data.files import VOLUMES
from relay.data.sample import Pixels, Sample
from relay.files import inside, write_bytes

COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito's, told apart by colour-blind eyes too; class 0 is black. From the ninth class on they begin again."""
PALETTE = [value for label in range(256) for value in COLOURS[(label - 1) % 7 + 1 if label else 0]]


def place_of(sample: Sample) -> Path:
    """Where a sample's files go below a folder, without an ending."""
    return inside(sample.id)


def save_mask(mask: Pixels, like: Path, place: Path) -> Path:
    """Class indices, as PNG with a palette, or NIfTI with the image's spacing, origin and orientation.

    Args:
        mask: uint8 ``(*S)``.
        like: the image's file.
        place: where to write, without an ending.

    Returns:
        The file that was written.
    """
    volume = like.name.lower().endswith(VOLUMES)
    path = place.with_name(place.name + (".nii.gz" if volume or mask.ndim == 3 else ".png"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        _save_png(mask, path)
    else:
        _save_nifti(mask, like, path)
    return path


def _save_png(mask: Pixels, path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(mask, mode="P")
    image.putpalette(PALETTE)
    data = io.BytesIO()
    image.save(data, "PNG")
    write_bytes(path, data.getvalue())


def _save_nifti(mask: Pixels, like: Path, path: Path) -> None:
    import SimpleITK as sitk

    source: Any = sitk.ReadImage(str(like))
    lost = source.GetDimension() - mask.ndim  # a volume of one slice was read as a picture
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.reshape((1,) * lost + mask.shape)))
    image.CopyInformation(source)
    beside = path.with_name(f".part.{path.name}")
    sitk.WriteImage(image, str(beside))
    beside.replace(path)
