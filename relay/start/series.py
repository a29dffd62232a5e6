"""DICOM series as a source: which of them, and where their targets are. Only headers are read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from relay.data import TABLES, VOLUME_FILES, Series, Sheet, find_series, read_sheet, site_pseudonyms
from relay.errors import UserError, some
from relay.start.finding import MASKS, named_in

KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")


def series_options(folder: Path, wanted: str | None = None) -> tuple[dict[str, Any], Sheet | None, str]:
    """Options of the data set ``dicom``; the table of targets, if these are no masks; and what was assumed.

    Args:
        wanted: A regular expression for the SeriesDescription; None: any.

    Raises:
        UserError: there is no scan, or nothing says what is to be predicted.
    """
    series = find_series(folder, site_pseudonyms())
    scans = [one for one in series if one.scan]
    if not scans:
        raise UserError(f"{folder} contains DICOM files, but no image of a patient", "Export the images, too.")
    scans = [one for one in scans if re.search(wanted or "", one.description, re.IGNORECASE)]
    if not scans:
        raise UserError(f"{folder}: --series '{wanted}' matches no SeriesDescription", "Correct it, or leave it out.")
    drawn = {uid for one in series for about in one.about for uid in about}
    masked = [one for one in scans if one.uid in drawn]
    kwargs: dict[str, Any] = {}
    sheet = None
    if not masked and (rule := _mask_rule(folder, scans)):
        masked, kwargs["mask_name"] = scans, rule
    elif not masked:
        sheet = _table(folder)
        kwargs |= {"label_table": sheet.path.name, "label_key": next(key for key in KEYS if key in sheet.header)}
    kinds = Counter(one.modality for one in masked or scans if one.modality)
    if not kinds:
        return kwargs, sheet, ""
    kwargs["modality"], many = kinds.most_common(1)[0]
    left = len(scans) - many
    told = f"only {kwargs['modality']} is used ({many} series); series that are not: {left}" if left else ""
    return kwargs, sheet, told


def _mask_rule(folder: Path, scans: Sequence[Series]) -> str:
    """``mask_name``, if every series has one volume beside its files, or one called after its UID in a folder of masks;
    else an empty text."""
    if inner := named_in(folder, MASKS):
        for ending in VOLUME_FILES:
            if all((folder / inner / f"{one.uid}{ending}").is_file() for one in scans):
                return f"{inner}/{{series}}{ending}"
    folders = {one.path if one.path.is_dir() else one.files[0].parent for one in scans}
    names = [{path.name for path in place.iterdir() if path.name.lower().endswith(VOLUME_FILES)} for place in folders]
    common = set.intersection(*names)
    return f"{{folder}}/{common.pop()}" if len(common) == 1 and len(folders) == len(scans) else ""


def _table(folder: Path) -> Sheet:
    """The table in the folder that has a column of patients, studies or series.

    Raises:
        UserError: there is none, or there are several.
    """
    found = list(_tables(folder))
    if len(found) == 1:
        return found[0]
    if found:
        names = some([sheet.path.name for sheet in found])
        raise UserError(f"{folder} has several tables: {names}", "Keep one there: the table with the targets.")
    raise UserError(
        f"{folder}: DICOM series, but no masks and no table",
        "Put a DICOM-SEG of each series anywhere in the folder, or a volume of the same name (mask.nii.gz) beside the "
        f"files of each; or one table into {folder}, such as labels.csv, with a column of targets and one of these: "
        f"{', '.join(KEYS)}.",
    )


def _tables(folder: Path) -> Iterator[Sheet]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in TABLES and path.is_file() and not path.name.startswith("."):
            sheet = read_sheet(path, KEYS)
            if set(KEYS) & set(sheet.header):
                yield sheet
