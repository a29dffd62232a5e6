"""Where a mask lies in space, as its file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from relay.data.files import VOLUMES

CLOSE = 1e-3
"""Of a voxel, or of a direction's cosine: files keep 32-bit numbers."""


def spacing_of(path: Path) -> tuple[float, ...] | None:
    """Millimetres per voxel along each axis of the array; None for pictures."""
    header = _header(path)
    if header is None:
        return None
    spacing = tuple(float(mm) for mm in header.GetSpacing()[::-1])
    return spacing[1:] if _is_slice(header) else spacing


def differences(one: Path, other: Path) -> list[str]:
    """What the first file says of its place in space, where the second says otherwise; nothing where one is a
    picture, or where their sizes differ anyway."""
    headers = _header(one), _header(other)
    if None in headers or headers[0].GetSize() != headers[1].GetSize():
        return []
    step = np.asarray(headers[1].GetSpacing())
    told = []
    for what, tolerance in (("Spacing", CLOSE * step), ("Origin", CLOSE * step), ("Direction", CLOSE)):
        mine, theirs = (np.asarray(getattr(header, f"Get{what}")()) for header in headers)
        if (np.abs(mine - theirs) > tolerance).any():
            told.append(f"{what.lower()} {_list(mine)}, truth {_list(theirs)}")
    return told


def _header(path: Path) -> Any:
    """What a volume's file says before its voxels; None for pictures."""
    if not path.name.lower().endswith(VOLUMES):
        return None
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _is_slice(header: Any) -> bool:
    """Volumes of one slice are read as pictures."""
    return bool(header.GetDimension() == 3 and header.GetSize()[2] == 1)


def _list(values: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
