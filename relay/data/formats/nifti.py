"""NIfTI files; ITK silently reads some faulty ones."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.formats.geometry import Geometry
from relay.errors import DataError

CUT_SHORT = "Copy the file again from its source, or remove it."
MAGIC = {(348, 344): b"n+1\0", (540, 4): b"n+2\0"}
"""The magic word of a header that is in one file with its voxels, by the header's size and the word's position."""
PIXDIM = {348: (76, "8f"), 540: (104, "8d")}
"""Position of the voxel sizes in a header, by its own size, which is its first number: NIfTI-1 and NIfTI-2."""
SCALE = {348: (112, "2f"), 540: (176, "2d")}
"""Position of the slope and intercept for stored values."""
KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""Number types by ``datatype``; ITK handles colours and complex numbers."""


def read(path: Path, reader: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A file's values as ITK gives them, but NaN where they are not finite (ITK gives 0); it is decompressed once.

    ITK reads the header, for which it only needs the first bytes of a compressed file. It also reads the voxels if they
    must be scaled or are not plain numbers.

    Args:
        reader: ITK's, which has read the header.

    Returns:
        The values, in the file's order, and a phrase for each thing the header leaves open.

    Raises:
        DataError: the file was truncated; ITK fills in zeros for what is missing.
        RuntimeError: ITK can't read it.
    """
    said = reader.GetMetaData
    data = _content(path)
    offset, bits = int(float(said("vox_offset"))), int(said("bitpix"))
    voxels = prod(max(1, int(said(f"dim[{axis}]"))) for axis in range(1, 8))
    expected = offset + voxels * bits // 8
    if len(data) < expected:
        raise DataError(f"{path}: can't be read: truncated, {len(data)} bytes instead of {expected}", CUT_SHORT)
    order = next((order for order in "<>" if struct.unpack_from(order + "i", data)[0] in PIXDIM), None)
    if order is None:  # not described by any standard
        return _by_itk(reader), ()
    size = struct.unpack_from(order + "i", data)[0]
    kind = KINDS.get(int(said("datatype")))
    stored = None
    if kind is not None and np.dtype(kind).itemsize * 8 == bits and voxels == prod(reader.GetSize()):
        stored = np.frombuffer(data, order + kind, voxels, offset)
    if stored is not None and offset >= size and _is_plain(data, order, size):
        values = stored.astype(kind)
    else:
        values = _by_itk(reader)
    if stored is not None and stored.dtype.kind == values.dtype.kind == "f":
        values.reshape(-1)[~np.isfinite(stored)] = np.nan
    place, form = PIXDIM[size]
    return values, tuple(_doubts(reader, struct.unpack_from(order + form, data, place)))


def _is_plain(data: bytes, order: str, size: int) -> bool:
    """Whether a header belongs to a single file whose values are used as stored."""
    place, form = SCALE[size]
    slope, added = struct.unpack_from(order + form, data, place)
    whole = any(data[at : at + 4] == word for (its, at), word in MAGIC.items() if its == size)
    return whole and slope in (0, 1) and added == 0


def _by_itk(reader: Any) -> NDArray[Any]:
    import SimpleITK as sitk

    values: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return values


def _content(path: Path) -> bytes:
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read: {error}", CUT_SHORT) from error


def _doubts(volume: Any, pixdim: tuple[float, ...]) -> list[str]:
    """Notes on orientation and size of voxels, if the header leaves them open.

    ``sform`` and ``qform`` may place a scan in different spaces, and often do. If they turn it differently, one of
    them is wrong, and programs disagree about which one to use.
    """
    said = volume.GetMetaData
    axes = volume.GetDimension()
    codes = int(said("qform_code")), int(said("sform_code"))
    notes = []
    if codes == (0, 0):
        notes.append("its header gives no orientation; assumed columns towards the left and rows towards the back")
    if not all(mm > 0 for mm in pixdim[1 : axes + 1]):
        notes.append("its header gives no voxel size; assumed 1 mm")
    if all(codes) and axes == 3 and _way(_sform(said)) != _way(_qform(said, pixdim[0])):
        notes.append("sform and qform in its header give different orientations; used ITK's choice")
    return notes


def _way(columns: NDArray[np.float64]) -> object:
    """The orientation that a matrix gives a volume."""
    with np.errstate(all="ignore"):  # nonsensical numbers differ from sensible ones, which is all that matters
        lengths = np.linalg.norm(columns, axis=0)
        cosines = np.nan_to_num(columns / np.where(lengths > 0, lengths, 1))
    return Geometry((2, 2, 2), (1.0,) * 3, (0.0,) * 3, tuple(cosines.ravel().tolist())).way


def _sform(said: Any) -> NDArray[np.float64]:
    return np.array([said(f"srow_{axis}").split()[:3] for axis in "xyz"], float)


def _qform(said: Any, handed: float) -> NDArray[np.float64]:
    """By the formula of the NIfTI-1 standard (nifti1.h, method 2); ``handed`` is -1 for left-handed axes."""
    b, c, d = (float(said(f"quatern_{which}")) for which in "bcd")
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turned = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return turned * [1, 1, -1 if handed < 0 else 1]
