"""What ITK reads from a damaged MetaImage or NRRD file without an error, or with a line of its own on the screen."""

from __future__ import annotations

import re
import zlib
from math import prod
from pathlib import Path

from relay.errors import DataError

NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
CHANNELS, COMPRESSED_SIZE = "ElementNumberOfChannels", "CompressedDataSize"
MOST_AXES = 10
"""ITK would write past its memory."""
BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4, "DOUBLE": 8}
"""Of a voxel, by its ElementType without ``MET_``; of other types the length is left to ITK."""
LONGEST = 1 << 16
"""Bytes of a header."""
EITHER = 47
"""To zlib: a stream of zlib or gzip, as MetaImage allows."""
AGAIN = "Copy the file again from its source, or remove it."


def is_metaimage(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in (".mha", ".mhd")


def fields(path: Path) -> dict[str, str]:
    """The header: what stands before the voxels.

    Raises:
        DataError: what is needed to find the voxels is not there.
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
        raise DataError(f"{path}: can't be read: its header does not say {', '.join(missing)}", AGAIN)
    try:
        axes, sizes = int(found["NDims"]), list(map(int, found["DimSize"].split()))
        for key in (CHANNELS, COMPRESSED_SIZE):
            int(found.get(key, 1))
    except ValueError as error:
        raise DataError(f"{path}: can't be read: its header is damaged: {error}", AGAIN) from error
    if axes > MOST_AXES:
        raise DataError(f"{path}: can't be read: its header has more axes than there are", AGAIN)
    if len(sizes) != axes:
        raise DataError(f"{path}: can't be read: its header has {len(sizes)} sizes of {axes} axes", AGAIN)
    return found


def check(path: Path) -> None:
    """Whether all voxels are there; ITK takes what it gets where compressed ones are damaged.

    Raises:
        DataError: they are cut short, damaged, or in a file that is not there.
    """
    header = fields(path)
    named = header["ElementDataFile"]
    if named == "LIST" or "%" in named:  # a file a slice
        return
    place = path if named.upper() == "LOCAL" else path.parent / named
    if not place.is_file():
        raise DataError(
            f"{path}: can't be read: its voxels are in {named}, which is not beside it",
            "Copy both files, under the names that they have at their source.",
        )
    data = place.read_bytes()
    if place == path:
        line = data.index(b"ElementDataFile")
        data = data[data.index(b"\n", line) + 1 :]
    size = BYTES.get(header["ElementType"].removeprefix("MET_"), 0)
    expected = prod(map(int, header["DimSize"].split())) * int(header.get(CHANNELS, 1)) * size
    if _is_true(header.get("CompressedData", "")):
        if COMPRESSED_SIZE not in header:  # ITK would guess, wrongly
            raise DataError(f"{path}: can't be read: its header does not say {COMPRESSED_SIZE}", AGAIN)
        data = inflated(path, data[: int(header[COMPRESSED_SIZE])])
        if size and len(data) > expected:
            raise DataError(f"{path}: can't be read: {len(data)} bytes where its header says {expected}", AGAIN)
    elif not _is_true(header.get("BinaryData", "True")):  # written as text
        return
    if len(data) < expected:
        raise DataError(f"{path}: can't be read: cut short, {len(data)} bytes where {expected} belong", AGAIN)


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")  # as ITK reads it


def inflated(path: Path, data: bytes) -> bytes:
    """A file's compressed voxels, whose checksum ITK does not look at.

    Raises:
        DataError: they are damaged or cut short.
    """
    stream = zlib.decompressobj(EITHER)
    try:
        voxels = stream.decompress(data)
    except zlib.error as error:
        raise DataError(f"{path}: can't be read: its compressed voxels are damaged ({error})", AGAIN) from error
    if not stream.eof:
        raise DataError(f"{path}: can't be read: its compressed voxels are cut short", AGAIN)
    return voxels


def check_nrrd(path: Path) -> None:
    """The same of a NRRD file, where its voxels are compressed and stand behind its header; ITK sees the rest.

    Raises:
        DataError: they are cut short or damaged.
    """
    data = path.read_bytes()
    head, _, voxels = data.partition(b"\n\n")
    if re.search(rb"^encoding: *gz", head, re.MULTILINE | re.IGNORECASE) and not re.search(
        rb"^data ?file:", head, re.MULTILINE | re.IGNORECASE
    ):
        inflated(path, voxels)
