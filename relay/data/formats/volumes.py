"""Volumes, read with SimpleITK; :mod:`relay.data.dicom.decoding` reads those in DICOM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from relay.data.dicom import decoding as dicom
from relay.data.formats import metaimage, nifti
from relay.data.formats.files import DAMAGED, is_volume
from relay.data.formats.geometry import Geometry
from relay.errors import DataError

SHEARED = (
    "Resample the image, and its mask with nearest neighbours, to axes at right angles. If only the header is "
    "wrong, correct it; the qform of a NIfTI file can't be sheared."
)


def decode(path: Path) -> tuple[NDArray[Any], Geometry, int, tuple[str, ...]]:
    """Values as stored, ``(z, y, x)`` or ``(y, x)`` and perhaps channels; geometry; channels; notes.

    Raises:
        DataError: it can't be read, or has four axes or complex numbers.
    """
    import SimpleITK as sitk

    header = _header(path)
    geometry = _geometry(path, header)
    if "complex" in sitk.GetPixelIDValueAsString(header.GetPixelID()):
        raise DataError(f"{path}: complex numbers", "Save what you need as real numbers, for example the magnitude.")
    keys = set(header.GetMetaDataKeys())
    notes: tuple[str, ...] = ()
    if metaimage.is_metaimage(path):
        metaimage.check(path)
    elif path.suffix.lower() == ".nrrd":
        metaimage.check_nrrd(path, geometry.size)
    try:
        if "vox_offset" in keys:
            values, notes = nifti.read(path, header)
        else:
            values = sitk.GetArrayFromImage(header.Execute())
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    channels = int(header.GetNumberOfComponents())
    shape = geometry.size[::-1] + ((channels,) if channels > 1 else ())
    return values.reshape(shape), geometry, channels, notes


def read_geometry(path: Path) -> Geometry | None:
    """A volume's geometry, from its header only; None for 2D images.

    Raises:
        DataError: the header can't be read, the file has four axes, or a DICOM series is no regular volume.
    """
    if dicom.reads(path):
        return dicom.geometry_of(path)
    return _geometry(path, _header(path)) if is_volume(path) else None


def _header(path: Path) -> Any:
    """A reader that has read the header."""
    import SimpleITK as sitk

    if metaimage.is_metaimage(path):
        metaimage.fields(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # we report its warnings as our own errors or notes
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _geometry(path: Path, header: Any) -> Geometry:
    more = [size for size in header.GetSize()[3:] if size > 1]
    if more:
        shape = "×".join(map(str, header.GetSize()))
        raise DataError(
            f"{path}: a {header.GetDimension()}D volume ({shape}); it must have 3 axes",
            "It has several volumes, for example times or contrasts. Save the one you need, or their mean, as a file.",
        )
    try:
        return Geometry.of(header)
    except ValueError as error:
        raise DataError(f"{path}: {error}", "Correct its header, or convert it again from its source.") from error


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
    if "orthonormal" in reason:
        return DataError(f"{path}: sheared: the axes in its header (a NIfTI sform) are not at right angles", SHEARED)
    return DataError(f"{path}: can't be read: damaged, truncated or of another type ({reason})", DAMAGED)
