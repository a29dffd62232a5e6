"""Whether an image has the axes and the channels that are asked for, and what to do if it has not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relay.data.formats.files import PICTURES
from relay.data.formats.volumes import read_geometry
from relay.errors import DataError

KINDS = {2: "2D images (2 axes)", 3: "volumes (3 axes)"}
CURES = {
    2: "Save the slices that you need as 2D images. A model that reads volumes slice by slice is trained with slices.",
    3: "Give the whole volume in one file (.nii.gz, .mha, .nrrd, …), or the folder of its DICOM series.",
}
CHANNELS = "Give every channel of an image: name its files NAME_0000, NAME_0001, …"


def kind_of(axes: int) -> str:
    """What images of this many axes are called."""
    return KINDS.get(axes, f"images of {axes} axes")


def cure_of(axes: int) -> str | None:
    """What to do about an image that has not this many axes; None if there is no advice."""
    return CURES.get(axes)


def suits(channels: int, wanted: int) -> bool:
    """Whether an image of so many channels will do: grey and RGB are converted into each other."""
    return channels == wanted or {channels, wanted} == {1, 3}


def check_image(path: Path, shape: Sequence[int], axes: Sequence[int], channels: int) -> None:
    """Check an image that was read.

    Args:
        shape: its own, ``(*S, C)``.
        axes: how many it may have; ``channels``: how many it must have.

    Raises:
        DataError: it has others.
    """
    *sides, found = shape
    if len(sides) not in axes:
        kinds = " or ".join(map(kind_of, axes))
        raise DataError(
            f"{path} has {len(sides)} ax{'es' if len(sides) != 1 else 'is'}; the model takes {kinds}", cure_of(axes[0])
        )
    if not suits(found, channels):
        raise DataError(f"{path} has {found} channel{'s' * (found > 1)}; the model takes {channels}", CHANNELS)


def axes_of(path: Path) -> int | None:
    """How many axes an image has, by its header; None if nothing tells.

    Raises:
        DataError: the header can't be read.
    """
    geometry = read_geometry(path)
    if geometry is None:
        return 2 if path.name.lower().endswith(PICTURES) else None
    return 2 if geometry.is_slice else 3
