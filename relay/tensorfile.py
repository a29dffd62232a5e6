"""Read a safetensors file strictly: everything in it is checked before the library sees it.

The format is 8 bytes (the header's length, little-endian), the header (JSON: name to ``dtype``, ``shape`` and
``data_offsets``), and the data (https://huggingface.co/docs/safetensors). The library itself accepts duplicate keys,
a dimension of 2^63 beside one of 0, and booleans that are neither 0 nor 1.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from relay.errors import UserError, plain

if TYPE_CHECKING:
    from torch import Tensor

ITEM = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "F32": 4,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}
"""The supported types, with the size of a value in bytes."""
MAX_HEADER = 4 * 2**20
"""Largest header, in bytes."""
MAX_TENSORS = 10_000
MAX_NAME = 200
"""Longest name of a tensor, in characters."""
MAX_AXES = 8
MAX_VALUES = 2**40
"""Maximum number of values of a tensor; zeros in its shape count as ones."""
_ROOM = 1024  # most bytes of the header that one tensor can need: its name, escaped or in UTF-8, and its numbers
_CHUNK = 2**20
_METADATA = "__metadata__"


class BadTensors(UserError):
    """A file that is not strictly in safetensors format."""

    _advice = "Copy the file again from its source. If it is still refused, write it again with safetensors."


@dataclass(frozen=True)
class Entry:
    """A tensor as the header describes it.

    Attributes:
        dtype: a key of :data:`ITEM`.
        start, end: position of its data, in bytes from the first byte after the header.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def load(path: Path, count: int | None = None, metadata: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU (imports torch).

    Args:
        count: how many there must be; a header that is too long for them is not read. None: up to :data:`MAX_TENSORS`.
        metadata: whether the header may have ``__metadata__``, with a text for each key.

    Raises:
        BadTensors: the file is not strictly in the format, or does not have ``count`` tensors; the message does not
            name it.
        OSError: it can't be read.
    """
    check(path, count, metadata)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise BadTensors(plain(str(error)[:200])) from error
    return tensors


def check(path: Path, count: int | None = None, metadata: bool = False) -> dict[str, Entry]:
    """The entries in a file's header; every byte of the file except the values is checked. Arguments as :func:`load`.

    Raises:
        BadTensors, OSError: as :func:`load`.
    """
    with path.open("rb") as file:
        return check_stream(file, os.fstat(file.fileno()).st_size, count, metadata)


def check_stream(file: BinaryIO, size: int, count: int | None = None, metadata: bool = False) -> dict[str, Entry]:
    """As :func:`check`, for a file of ``size`` bytes that is open at its beginning."""
    entries, begin = _header(file, size, MAX_TENSORS if count is None else count, metadata)
    if count is not None and len(entries) != count:
        raise BadTensors(f"it has {len(entries)} tensors; it must have {count}")
    _cover(entries, size - begin)
    for name, entry in entries.items():
        if entry.dtype == "BOOL":
            _booleans(file, begin, name, entry)
    return entries


def metadata_of(path: Path) -> dict[str, str]:
    """The texts in a header's ``__metadata__``, by key; empty if it has none. Only the header is read.

    Raises:
        BadTensors, OSError: as :func:`load`.
    """
    with path.open("rb") as file:
        text = _text(file, os.fstat(file.fileno()).st_size, MAX_TENSORS, metadata=True)
    parse(text, metadata=True)
    return dict(_content(text).get(_METADATA, {}))


def parse(text: bytes, metadata: bool = False) -> dict[str, Entry]:
    """A header's entries by name, in its order.

    Raises:
        BadTensors: it is not valid.
    """
    content = _content(text)
    told = content.pop(_METADATA, {})
    if not (_texts(told) and (metadata or not told)):
        raise BadTensors(f"its {_METADATA} {'may only contain texts' if metadata else 'is not allowed here'}")
    if len(content) > MAX_TENSORS:
        raise BadTensors(f"it has {len(content)} tensors; the limit is {MAX_TENSORS}")
    return {name: _entry(name, value) for name, value in content.items()}


def _content(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{") or not text.rstrip(b" ").endswith(b"}"):
        raise BadTensors("its header is not a single JSON object followed only by spaces")
    try:
        content: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_once, parse_float=_not_whole, parse_constant=_not_whole
        )
    except (ValueError, RecursionError) as error:
        raise BadTensors(f"its header is not JSON: {plain(str(error)[:200])}") from None
    return content


def _header(file: BinaryIO, size: int, count: int, metadata: bool) -> tuple[dict[str, Entry], int]:
    """The entries, and where the data starts."""
    text = _text(file, size, count, metadata)
    return parse(text, metadata), 8 + len(text)


def _text(file: BinaryIO, size: int, count: int, metadata: bool) -> bytes:
    """The header of a file that is open at its beginning."""
    first = file.read(8)
    length = int.from_bytes(first, "little")
    most = min(MAX_HEADER, _ROOM * (count + 1) + (MAX_HEADER if metadata else 0))
    if len(first) < 8 or length < 2 or 8 + length > size:
        raise BadTensors("it is truncated, or not a safetensors file")
    if length > most:
        raise BadTensors(f"its header has {length} bytes; the limit is {most} for {count} tensors")
    return file.read(length)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key appears twice")
    return content


def _not_whole(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")


def _texts(told: object) -> bool:
    return isinstance(told, Mapping) and all(isinstance(value, str) for value in told.values())


def _entry(name: str, said: object) -> Entry:
    if not (0 < len(name) <= MAX_NAME and name.isprintable()):
        raise BadTensors(f"a tensor's name must have 1 to {MAX_NAME} printable characters: {plain(name[:40])}")
    if not isinstance(said, Mapping) or said.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadTensors(f"{name} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM:
        raise BadTensors(f"{name} has the type {plain(str(dtype)[:40])}; known types: {', '.join(ITEM)}")
    if not (_whole(shape) and len(shape) <= MAX_AXES and math.prod(max(n, 1) for n in shape) <= MAX_VALUES):
        raise BadTensors(f"{name} has a shape that is not at most {MAX_AXES} numbers from 0, of 2^40 values in all")
    if not (_whole(offsets) and len(offsets) == 2):
        raise BadTensors(f"{name} has data_offsets that are not two numbers from 0")
    start, end = offsets
    if end - start != (wanted := ITEM[dtype] * math.prod(shape)):
        raise BadTensors(f"{name} has {wanted} bytes by its shape and type, but {end - start} by its data_offsets")
    return Entry(dtype, tuple(shape), start, end)


def _whole(numbers: object) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)


def _cover(entries: Mapping[str, Entry], size: int) -> None:
    """Check that the tensors follow one another, and that there is nothing else."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != at:
            raise BadTensors(f"{name} starts at byte {entry.start} of the data, but the previous tensor ends at {at}")
        at = entry.end
    if at != size:
        raise BadTensors(f"its tensors have {at} bytes, but the file has {size} for them")


def _booleans(file: BinaryIO, begin: int, name: str, entry: Entry) -> None:
    file.seek(begin + entry.start)
    for at in range(entry.start, entry.end, _CHUNK):
        if file.read(min(_CHUNK, entry.end - at)).strip(b"\0\1"):
            raise BadTensors(f"{name} has a boolean that is neither 0 nor 1")
