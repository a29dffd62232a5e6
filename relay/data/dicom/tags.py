"""The header of a DICOM file, read with pydicom.

Headers hold names, dates of birth and free text. Only the tags that are asked for are read, messages never quote a
text, and what pydicom has to say about a value, which may quote it, is not passed on.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from relay.data.formats.files import DAMAGED
from relay.errors import DataError

HEADER = "The header is damaged, or not written by the DICOM standard. Export the series again from its source."


def quiet_pydicom() -> ModuleType:
    """pydicom, which neither logs nor warns: its messages may quote patients' names."""
    import pydicom
    from pydicom import config

    warnings.filterwarnings("ignore", module=r"pydicom|highdicom")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).disabled = True
    config.settings.reading_validation_mode = config.IGNORE
    return pydicom


def read_header(path: Path, tags: Sequence[str]) -> Any:
    """A ``pydicom.Dataset`` with the given tags, as far as the file has them; no pixels.

    Raises:
        DataError: the file can't be read, or its header is damaged.
    """
    pydicom = quiet_pydicom()
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(tags))
    except OSError as error:
        advice = "Check that it exists and that you have permission to read it."
        raise DataError(f"{path}: can't be read: {error.strerror or 'input or output failed'}", advice) from error
    except Exception as error:  # whatever a parser raises for bytes that make no sense; its text may quote a name
        raise DataError(f"{path}: can't be read: damaged DICOM header ({type(error).__name__})", DAMAGED) from None


def value(header: Any, tag: str, path: Path) -> Any:
    """A tag's value; None if it is absent or empty.

    Raises:
        DataError: its bytes are no value of that tag.
    """
    try:
        found = header.get(tag)
        return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found
    except Exception:  # pydicom converts on access, and its text may quote a name
        raise DataError(f"{path}: {tag} in its header can't be understood", HEADER) from None


def items(header: Any, tag: str, path: Path) -> list[Any]:
    """The items of a sequence, each again a header; none if it is absent.

    Raises:
        DataError: it is no sequence.
    """
    found = value(header, tag, path)
    if found is None:
        return []
    try:
        return [item for item in found if hasattr(item, "get")]
    except TypeError:
        raise DataError(f"{path}: {tag} in its header is no sequence", HEADER) from None


def text(header: Any, tag: str, path: Path) -> str:
    """A tag's value as text, several values with backslashes as in the file; empty if there is none."""
    found = value(header, tag, path)
    if found is None:
        return ""
    many = isinstance(found, Sequence) and not isinstance(found, str)
    return "\\".join(map(str, found)) if many else str(found).strip()


def numbers(header: Any, tag: str, count: int, path: Path) -> tuple[float, ...] | None:
    """A tag's numbers; None if it is absent or empty.

    Raises:
        DataError: there are not ``count`` of them, or one is not finite.
    """
    found = value(header, tag, path)
    if found is None:
        return None
    try:
        given = tuple(np.atleast_1d(np.asarray(found, float)).ravel().tolist())
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: {tag} in its header is not a number", HEADER) from None
    if len(given) != count or not np.isfinite(given).all():
        raise DataError(f"{path}: {tag} in its header must be {count} finite numbers, not {_list(given)}", HEADER)
    return given


def whole(header: Any, tag: str, path: Path, default: int | None = None) -> int:
    """A tag's whole number, at least 1.

    Raises:
        DataError: it is absent without a default, or not such a number.
    """
    found = numbers(header, tag, 1, path)
    if found is None and default is not None:
        return default
    if found is None:
        raise DataError(f"{path}: no {tag} in its header: it contains no image", HEADER)
    if found[0] < 1 or found[0] != int(found[0]):
        raise DataError(f"{path}: {tag} {found[0]:g} in its header is not possible", HEADER)
    return int(found[0])


def _list(given: Sequence[float]) -> str:
    return "(" + ", ".join(f"{number:.7g}" for number in given[:6]) + (", …" if len(given) > 6 else "") + ")"
