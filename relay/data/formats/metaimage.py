"""Checks for damaged MetaImage and NRRD files that ITK reads without an error, or with only a line on the screen."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

from relay.data.formats.files import check_size
from relay.errors import DataError

NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
CHANNELS, COMPRESSED_SIZE = "ElementNumberOfChannels", "CompressedDataSize"
MOST_AXES = 10
"""ITK would write past its memory."""
BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a voxel, by its ElementType without ``MET_``; ITK checks the length for other types."""
LONGEST = 1 << 16
"""Maximum size of a header, in bytes."""
EITHER = 47
"""To zlib: a stream of zlib or gzip, as MetaImage allows."""
NAMED = rb"^ElementDataFile *= *([^\r\n]+)"
DATA_FILE = {
    **dict.fromkeys((".mha", ".mhd"), re.compile(NAMED, re.MULTILINE)),
    ".nrrd": re.compile(rb"^data ?file: *([^\r\n]+)", re.MULTILINE | re.IGNORECASE),
}
"""Where a header names the file of its voxels."""
AGAIN = "Copy the file again from its source, or remove it."


def is_metaimage(path: Path) -> bool:
    """Whether a file is a MetaImage, judging by its name."""
    return path.suffix.lower() in (".mha", ".mhd")


def fields(path: Path) -> dict[str, str]:
    """The fields of the header, before the voxels.

    Raises:
        DataError: what is needed to find the voxels is missing.
    """
    with path.open("rb") as file:
        lines = file.read(LONGEST).split(b"\n")
    found: dict[str, str] = {}
    for line in lines:
        key, equals, value = line.decode("latin-1").partition("=")
        if equals:
            found[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    if missing := [key for key in NEEDED if not found.get(key)]:
        raise DataError(f"{path}: can't be read: its header lacks {', '.join(missing)}", AGAIN)
    try:
        axes, sizes = int(found["NDims"]), list(map(int, found["DimSize"].split()))
        for key in (CHANNELS, COMPRESSED_SIZE):
            int(found.get(key, 1))
    except ValueError as error:
        raise DataError(f"{path}: can't be read: its header is damaged: {error}", AGAIN) from error
    if axes > MOST_AXES:
        raise DataError(f"{path}: can't be read: its header has too many axes", AGAIN)
    if len(sizes) != axes:
        raise DataError(f"{path}: can't be read: its header has {len(sizes)} sizes for {axes} axes", AGAIN)
    return found


def check(path: Path) -> None:
    """Check that all voxels are there; ITK accepts damaged compressed ones.

    Raises:
        DataError: they are truncated, damaged, or in a missing file.
    """
    header = fields(path)
    named = header["ElementDataFile"]
    if named == "LIST" or "%" in named:  # one file per slice
        return
    place = path if named.upper() == "LOCAL" else path.parent / named
    if not place.is_file():
        raise DataError(
            f"{path}: can't be read: its voxels are in {named}, which is not beside it",
            "Copy both files, with their original names.",
        )
    data = place.read_bytes()
    if place == path:
        data = data[data.index(b"ElementDataFile") :].partition(b"\n")[2]
    size = BYTES.get(header["ElementType"].removeprefix("MET_"), 0)
    expected = prod(map(int, header["DimSize"].split())) * int(header.get(CHANNELS, 1)) * size
    if _is_true(header.get("CompressedData", "")):
        if COMPRESSED_SIZE not in header:  # ITK would guess wrongly
            raise DataError(f"{path}: can't be read: its header does not say {COMPRESSED_SIZE}", AGAIN)
        data = inflated(path, data[: int(header[COMPRESSED_SIZE])])
        if size and len(data) > expected:
            raise DataError(f"{path}: can't be read: {len(data)} bytes, but its header says {expected}", AGAIN)
    elif not _is_true(header.get("BinaryData", "True")):  # written as text
        return
    if len(data) < expected:
        raise DataError(f"{path}: can't be read: truncated, {len(data)} bytes instead of {expected}", AGAIN)


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")  # as ITK reads it


def voxel_file(path: Path) -> Path | None:
    """The file beside a MetaImage or NRRD header that has its voxels; None if they are in the file itself."""
    pattern = DATA_FILE.get(path.suffix.lower())
    if pattern is None:
        return None
    try:
        with path.open("rb") as file:
            found = pattern.search(file.read(LONGEST))
    except OSError:
        return None  # whoever reads the header itself says so
    beside = path.parent / os.fsdecode(found[1].strip()) if found else path
    return beside if beside != path and beside.is_file() else None


def inflated(path: Path, data: bytes) -> bytes:
    """A file's voxels, decompressed with their checksum verified, which ITK does not do.

    Raises:
        DataError: they are damaged or truncated.
    """
    stream = zlib.decompressobj(EITHER)
    try:
        voxels = stream.decompress(data)
    except zlib.error as error:
        raise DataError(f"{path}: can't be read: its compressed voxels are damaged ({error})", AGAIN) from error
    if not stream.eof:
        raise DataError(f"{path}: can't be read: its compressed voxels are truncated", AGAIN)
    return voxels


def check_nrrd(path: Path, shape: Sequence[int]) -> None:
    """The same for an NRRD file with its voxels after its header; ITK checks those in other files.

    Args:
        shape: by its header.

    Raises:
        DataError: the file can't hold so many voxels, or they are compressed, and truncated or damaged.
    """
    data = path.read_bytes()
    head, _, voxels = data.partition(b"\n\n")
    if DATA_FILE[".nrrd"].search(head):
        return
    check_size(path, shape, len(data))
    if re.search(rb"^encoding: *gz", head, re.MULTILINE | re.IGNORECASE):
        inflated(path, voxels)
