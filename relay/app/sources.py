"""What a chosen folder or table holds, before there is a config: shown in pages of a table. No image is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.data import find_series, read_sheet
from relay.start import find_images, layout_of

SAID = {
    "table": "a table",
    "pairs": "images with masks",
    "classes": "a folder of images for each class",
    "nnunet": "a data set of nnU-Net",
    "images": "images without masks or classes",
    "dicom": "DICOM series",
}
"""How each kind of source is called."""
PAGE = 100
"""How many images are listed at a time."""
WIDEST = 8
"""How many columns of a table are shown."""


@dataclass(frozen=True)
class Seen:
    """What was found.

    Attributes:
        kind: one of :data:`SAID`.
        columns: the columns of the list below.
        rows: one for each image.
        patients: how many there are; None where it is not known yet.
        header: of a table, all its columns.
        modalities: of DICOM.
    """

    kind: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    patients: int | None = None
    header: Sequence[str] = ()
    modalities: Sequence[str] = ()

    @property
    def said(self) -> str:
        """Its kind, in words."""
        return SAID[self.kind]


def see(path: Path, patients: str | None = None) -> Seen:
    """Look at a folder or a table.

    Args:
        patients: a regular expression that finds the patient in an image's name.

    Raises:
        UserError: it can't be read, or its images don't fit together.
    """
    if path.is_file():
        sheet = read_sheet(path)
        shown = sheet.header[:WIDEST]
        return Seen("table", shown, [[row[name] for name in shown] for row in sheet.rows], header=sheet.header)
    if layout_of(path) == "dicom":
        scans = [one for one in find_series(path) if one.scan]
        rows = [[str(one.path.relative_to(path)), one.modality, str(len(one.files))] for one in scans]
        modalities = sorted({one.modality for one in scans})
        return Seen("dicom", ["series", "modality", "files"], rows, modalities=modalities)
    layout, found = find_images(path, patients=patients)
    rows = [
        [one.name, one.patient, one.target.name if isinstance(one.target, Path) else one.target or ""] for one in found
    ]
    people = len({one.patient for one in found})
    return Seen(layout, ["image", "patient", "class" if layout == "classes" else "mask"], rows, people)
