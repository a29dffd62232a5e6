"""The pixels of DICOM files, in real units.

pydicom decodes them; GDCM, by SimpleITK, those that pydicom's decoders can't: lossless JPEG above all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.planes import Plane
from relay.data.dicom.tags import quiet_pydicom, text, whole
from relay.data.formats.files import DAMAGED, check_size
from relay.errors import DataError

GDCM_ALSO = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91)}
"""Transfer syntaxes that GDCM decodes: JPEG, lossless JPEG, JPEG-LS, JPEG 2000."""
MEASURED = {"CT", "PT"}
"""Modalities whose values are measurements: MONOCHROME1 only says how to show them."""
CONVERT = (
    "Export the series uncompressed (Explicit VR Little Endian), or convert it, for example with gdcmconv --raw or "
    "dcmdjpeg; dcm2niix makes a volume of it."
)


def real_values(planes: Sequence[Plane], indices: bool = False) -> NDArray[Any]:
    """Values in real units, ``(z, y, x)`` or ``(z, y, x, 3)``, of planes in this order.

    Integers stay integers if slope and intercept are. MONOCHROME1, where small values are bright, is inverted, unless
    the values are measurements (CT, PET).

    Args:
        indices: Whether to keep the indices of a palette image instead of its colours.

    Raises:
        DataError: a file is truncated or damaged, or compressed in a way that can't be decoded here.
    """
    stored = _stored(planes, indices)
    first = planes[0]
    if is_inverted(first):
        stored = inverted(stored, first)
    scales = [(plane.slope, plane.intercept) for plane in planes]
    if set(scales) == {(1.0, 0.0)}:
        return stored
    values: NDArray[Any] = np.empty(stored.shape, _kind(stored, scales))
    with np.errstate(over="ignore"):  # infinite values are noted where intensities are
        for plane, (slope, intercept) in enumerate(scales):  # one at a time: 64 bits for all take much memory
            values[plane] = stored[plane] * slope + intercept
    return values


def _kind(stored: NDArray[Any], scales: Sequence[tuple[float, float]]) -> type[np.generic]:
    """The type of scaled values: the smallest signed integer that holds them, if they are integers."""
    whole_numbers = all(number == int(number) for scale in scales for number in scale)
    if stored.dtype.kind not in "ui" or not whole_numbers:
        return np.float32
    ends = [end * slope + added for one, (slope, added) in zip(stored, scales, strict=True) for end in _ends(one)]
    fits = (kind for kind in (np.int16, np.int32) if np.iinfo(kind).min <= min(ends) <= max(ends) <= np.iinfo(kind).max)
    return next(fits, np.float32)


def _ends(values: NDArray[Any]) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _stored(planes: Sequence[Plane], indices: bool) -> NDArray[Any]:
    """Values as stored; each file is decoded once."""
    of: dict[Path, list[Plane]] = defaultdict(list)
    for plane in planes:
        of[plane.path].append(plane)
    frames = {path: _frames(some, indices) for path, some in of.items()}
    found = [frames[plane.path][plane.frame or 0] for plane in planes]
    if len({(one.shape, one.dtype.kind) for one in found}) > 1:
        raise DataError(f"{planes[0].path.parent}: images of several types of pixels in one series", DAMAGED)
    return np.stack(found)


def _frames(planes: Sequence[Plane], indices: bool) -> NDArray[Any]:
    """All frames of the file of these planes, ``(frames, rows, columns)`` and perhaps three colours."""
    pydicom, plane = quiet_pydicom(), planes[0]
    count = whole(plane.header, "NumberOfFrames", plane.path, default=1)
    shape = (count, whole(plane.header, "Rows", plane.path), whole(plane.header, "Columns", plane.path))
    check_size(plane.path, shape, plane.path.stat().st_size)
    try:
        header = pydicom.dcmread(plane.path, force=True)
        if not getattr(header.file_meta, "TransferSyntaxUID", None):
            header.file_meta.TransferSyntaxUID = _guessed(header)
        array = pydicom.pixels.pixel_array(header)
        if not header.file_meta.TransferSyntaxUID.is_compressed:
            array = _used_bits(array, plane)
        if text(header, "PhotometricInterpretation", plane.path) == "PALETTE COLOR" and not indices:
            array = _colours(pydicom.pixels.apply_color_lut(array, header))
    except OSError as error:
        advice = "Check that it exists and that you have permission to read it."
        raise DataError(f"{plane.path}: can't be read: {error.strerror or 'input failed'}", advice) from error
    except Exception:  # whatever a decoder raises for bytes that make no sense, or that it does not know
        array = _by_gdcm(planes)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    colours = array.shape[-1:] if array.ndim > 2 and array.shape[-1] == 3 and array.size != np.prod(shape) else ()
    if array.size != np.prod((*shape, *colours)):
        raise DataError(f"{plane.path}: can't be read: its pixels don't have the size given in its header", DAMAGED)
    frames: NDArray[Any] = array.reshape(*shape, *colours)
    return frames


def _guessed(header: Any) -> str:
    """The transfer syntax of a file without a file header, which is not compressed."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, _ = header.original_encoding
    return str(ImplicitVRLittleEndian if implicit in (True, None) else ExplicitVRLittleEndian)


def _by_gdcm(planes: Sequence[Plane]) -> NDArray[Any]:
    """Decode with GDCM, which scales the values; take the scale out again.

    Raises:
        DataError: it can't, either.
    """
    import SimpleITK as sitk

    plane = planes[0]
    name, known = _syntax(plane.path)
    one_scale = len({(other.slope, other.intercept) for other in planes}) == 1
    if known and one_scale:
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(plane.path))
        try:
            values: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            raise DataError(f"{plane.path}: can't be read: truncated or damaged pixels ({name})", DAMAGED) from None
        if (plane.slope, plane.intercept) == (1.0, 0.0):
            return values
        return np.rint((values - plane.intercept) / plane.slope).astype(np.int32)
    raise DataError(
        f"{plane.path}: its pixels are compressed as {name}, which can't be decoded here", CONVERT
    ) from None


def _syntax(path: Path) -> tuple[str, bool]:
    """The name of a file's transfer syntax, and whether the decoders here know it."""
    pydicom = quiet_pydicom()
    try:
        uid = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
        return str(uid.name), not uid.is_compressed or str(uid) in GDCM_ALSO or _known(uid)
    except Exception:  # a damaged file header
        return "no known transfer syntax", True


def _known(uid: Any) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def _used_bits(array: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Without what older files keep in the bits above those of the value, such as an overlay."""
    if array.dtype.kind not in "ui":
        return array
    free = array.dtype.itemsize * 8 - whole(plane.header, "BitsStored", plane.path, default=array.dtype.itemsize * 8)
    if free <= 0:
        return array
    lifted: NDArray[Any] = array << array.dtype.type(free)
    lifted >>= array.dtype.type(free)  # of signed numbers, this repeats the sign
    return lifted


def _colours(array: NDArray[Any]) -> NDArray[Any]:
    """A palette's colours with 8 bits; palettes have 8 or 16."""
    return array if array.dtype == np.uint8 else (array >> 8).astype(np.uint8)


def is_inverted(plane: Plane) -> bool:
    """Whether small values are bright, and are not measurements."""
    monochrome1 = text(plane.header, "PhotometricInterpretation", plane.path) == "MONOCHROME1"
    return monochrome1 and text(plane.header, "Modality", plane.path) not in MEASURED


def inverted(stored: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Large values for small ones, in the range that the header gives to stored values."""
    if stored.dtype.kind not in "ui":
        return -stored
    most = stored.dtype.itemsize * 8
    bits = min(most, whole(plane.header, "BitsStored", plane.path, default=most))
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if stored.dtype.kind == "i" else (0, (1 << bits) - 1)
    return (low + high - stored.astype(np.int64)).astype(stored.dtype)
