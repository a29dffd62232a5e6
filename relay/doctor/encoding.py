"""Locale and encoding: whether names of patients and folders survive being read, written and printed."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from relay.doctor.finding import Finding, fault, ok, warning

WORD = "Größe_Ł_日本"
CURE = "Run: export LANG=C.UTF-8. To keep it, add that line to ~/.profile."
WINDOWS_CURE = "Run: setx PYTHONUTF8 1. Then open a new terminal."


def check_encoding(folder: Path) -> Iterator[Finding]:
    """How file names and the screen are encoded; a file with letters beyond ASCII is written to a folder."""
    cure = WINDOWS_CURE if sys.platform == "win32" else CURE
    names, screen = sys.getfilesystemencoding(), getattr(sys.stdout, "encoding", None) or "utf-8"
    if not _has_letters(names):
        yield fault("encoding", f"file names are read as {names}: images with other letters are not found", cure)
    elif (error := _unwritten(folder)) is not None:
        yield warning(
            "encoding",
            "the disk of {folder} takes no file names with letters beyond ASCII: {error}",
            "Name images and folders with plain letters, or use another disk.",
            folder=folder,
            error=error,
        )
    if not _has_letters(screen):
        yield warning("encoding", f"the screen shows {screen}, so some letters will be missing", cure)
    elif _has_letters(names):
        yield ok("encoding", f"file names {names}, screen {screen}")


def _has_letters(encoding: str) -> bool:
    try:
        WORD.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _unwritten(folder: Path) -> str | None:
    """Why a name with other letters can't be written; None if it can, or if nothing can be written there at all."""
    if not os.access(folder, os.W_OK):
        return None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=WORD):
            return None
    except OSError as error:
        return error.strerror if error.errno in (errno.EINVAL, errno.EILSEQ) else None  # others are the disk's finding
