"""A file or folder that holds a patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["file", "folder", "job", "rows", "ids", "lines", "cache"]


@dataclass(frozen=True)
class Held:
    """A file or folder that holds the patient.

    Attributes:
        kind: how the patient is removed: the whole ``file``, ``folder`` or ``job`` of the page goes, or only the
            patient's ``rows`` of a table, ``ids`` in JSON, ``lines`` of a text; all entries of an image ``cache``.
        why: what it is, for people.
    """

    path: Path
    kind: Kind
    why: str
