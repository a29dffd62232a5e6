"""What ITK reads from a NIfTI file without a word."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.geometry import Geometry
from relay.errors import DataError

CUT_SHORT = "Copy the file again from its source, or remove it."


def check_length(path: Path, volume: Any) -> None:
    """Refuse a file that was cut short: ITK puts zeros for what is missing.

    Raises:
        DataError: say so.
    """
    said = volume.GetMetaData
    values = prod(max(1, int(said(f"dim[{axis}]"))) for axis in range(1, 8))
    expected = int(float(said("vox_offset"))) + values * int(said("bitpix")) // 8
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            actual = sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read: {error}", CUT_SHORT) from error
    if actual < expected:
        raise DataError(f"{path}: can't be read: cut short, {actual} bytes where {expected} belong", CUT_SHORT)


def doubts(volume: Any) -> tuple[str, ...]:
    """What its header leaves open: its orientation, the size of its voxels.

    ``sform`` and ``qform`` may place a scan in different spaces, and often do. Where they turn it differently one of
    them is wrong, and programs disagree about which one they believe.
    """
    said = volume.GetMetaData
    axes = volume.GetDimension()
    codes = int(said("qform_code")), int(said("sform_code"))
    notes = []
    if codes == (0, 0):
        notes.append(
            "its header does not say how it lies; columns were taken to run towards the left, rows to the back"
        )
    if not all(float(said(f"pixdim[{axis}]")) > 0 for axis in range(1, axes + 1)):
        notes.append("its header does not say how large voxels are; 1 mm was taken")
    if all(codes) and axes == 3 and _way(_sform(said)) != _way(_qform(said)):
        notes.append("its header turns it one way by sform, another by qform; ITK's choice was taken")
    return tuple(notes)


def _way(columns: NDArray[np.float64]) -> object:
    """Which way a turn of 3 × 3 numbers would have a volume lie."""
    lengths = np.linalg.norm(columns, axis=0)
    cosines = columns / np.where(lengths > 0, lengths, 1)
    return Geometry((2, 2, 2), (1.0,) * 3, (0.0,) * 3, tuple(cosines.ravel().tolist())).way


def _sform(said: Any) -> NDArray[np.float64]:
    return np.array([said(f"srow_{axis}").split()[:3] for axis in "xyz"], float)


def _qform(said: Any) -> NDArray[np.float64]:
    """By the formula of the NIfTI-1 standard (nifti1.h, method 2)."""
    b, c, d = (float(said(f"quatern_{which}")) for which in "bcd")
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turned = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return turned * [1, 1, -1 if float(said("pixdim[0]")) < 0 else 1]
