"""Files that are whole or absent: written beside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` with ``data`` in one step; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    _flushed(beside, data)
    beside.replace(path)


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace a whole folder with these files in one step."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        _flushed(beside / name, data)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.replace(old)
        try:
            beside.replace(folder)
        except OSError:
            old.replace(folder)
            raise
        shutil.rmtree(old)
    else:
        beside.replace(folder)


def inside(name: str) -> Path:
    """A name that may name folders as a path that never leads out of where it is put. Different names stay different:
    one that had to be changed gets eight digits of its own."""
    path = Path(*(part for part in name.split("/") if part not in {"", ".", ".."}))
    if path.name and path.as_posix() == name:
        return path
    return path.parent / (f"{path.name or '_'}-{sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}")


def _flushed(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with path.open("xb") as file:  # never through a link that somebody has put there
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
