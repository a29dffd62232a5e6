r"""Find the DICOM series in a folder. :mod:`relay.data.dicom.decoding` reads them.

Scanners and archives name files and folders as they like, so a file belongs to a series by its SeriesInstanceUID alone.
An image of a data set is named by one path. For a series that is

- its file, if it has only one;
- a folder that contains it and no other series of images, at any depth;
- ``FOLDER/UID``, with its SeriesInstanceUID, if the folder contains others, too. There is no file of that name.

Localisers and files without an image, such as reports, are not scans, and are left out.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from relay.data.dicom.pseudonyms import Pseudonyms
from relay.data.dicom.tags import HEADER, items, quiet_pydicom, read_header, text
from relay.data.formats.files import DAMAGED, UID, WHOLE, is_dicom, is_series
from relay.data.formats.metaimage import voxel_file
from relay.data.problems import refuse
from relay.errors import DataError, some

SEGMENTATIONS = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
"""SOP classes: Segmentation, and Label Map Segmentation."""
IMAGES = "Image Storage"
"""In the name of the SOP classes whose files contain an image, as "CT Image Storage"; reports have others."""
TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Rows",
    "ReferencedSeriesSequence",
)
MIXED = "Separate their files. If an archive gave them one SeriesInstanceUID by mistake, export them again."
ONE = "Name one of them, as written above; or keep each series in a folder of its own."


@dataclass(frozen=True)
class Series:
    """The files of one series.

    Attributes:
        path: The path that names it as an image (see above).
        files: Its files, sorted by name.
        uid: Its SeriesInstanceUID.
        study: Its StudyInstanceUID.
        modality: ``CT``, ``MR``, ….
        description: What the scanner's operator called it. It is free text: compare it, but never show it.
        patient: The pseudonym of its PatientID; empty if it has none, or none was asked for.
        localiser: Whether all its images are localisers.
        segments: Whether it is a DICOM-SEG.
        about: Of a DICOM-SEG, the SeriesInstanceUIDs that each of its files refers to.
    """

    path: Path
    files: tuple[Path, ...]
    uid: str
    study: str
    modality: str
    description: str
    patient: str = ""
    localiser: bool = False
    segments: bool = False
    about: tuple[frozenset[str], ...] = ()

    @property
    def scan(self) -> bool:
        """Whether it is an image of a patient: no localiser, no segmentation."""
        return not (self.localiser or self.segments)


@dataclass(frozen=True)
class _File:
    """What is kept of a file's header."""

    path: Path
    uid: str
    study: str
    modality: str
    description: str
    patient: str
    localiser: bool
    segments: bool
    about: frozenset[str]


def series_files(path: Path) -> tuple[Path, ...]:
    """The files of the series that a path names.

    Raises:
        DataError: there is no such series, or the path is a folder that contains several.
    """
    if path.is_file():
        return (path,)
    folder = path if path.is_dir() else path.parent
    found = find_series(folder)
    scans = [one for one in found if one.scan]
    if path != folder:
        for one in found:
            if one.uid == path.name:
                return one.files
        raise DataError(f"{folder} contains no DICOM series {path.name}", _contents(folder, scans))
    if len(scans) > 1:
        names = some([str(folder / one.uid) for one in scans], between="\n  - ")
        raise DataError(f"{folder} contains {len(scans)} DICOM series:\n  - {names}", ONE)
    if scans or found:
        return (scans or found)[0].files
    raise DataError(f"{folder} is a folder without DICOM images, but must be one image", "Name the file in it.")


def _contents(folder: Path, scans: Sequence[Series]) -> str:
    if not scans:
        return "Check the path; the folder contains no series at all."
    return f"Check the path. The folder contains: {some([one.uid for one in scans])}."


def find_series(folder: Path, pseudonyms: Pseudonyms | None = None) -> list[Series]:
    """All series in a folder and its subfolders, sorted by their first file; hidden files are skipped.

    Headers are read again only if files have changed.

    Args:
        pseudonyms: Makes :attr:`Series.patient` from each PatientID; None reads none.

    Raises:
        DataError: the folder or files can't be read, a series has files of several patients or studies.
    """
    groups: dict[str, list[_File]] = defaultdict(list)
    for file in _headers(folder, _stamps(folder), pseudonyms):
        groups[file.uid].append(file)
    mixed = [
        f"{files[0].path.parent}: a series with files of several {what}"
        for files in groups.values()
        for what in ("patients", "studies")
        if len({file.patient if what == "patients" else file.study for file in files}) > 1
    ]
    refuse(mixed, f"{folder}: mixed DICOM series", MIXED)
    images = {uid: files for uid, files in groups.items() if not (files[0].segments or _localisers(files))}
    return sorted((_series(files, images) for files in groups.values()), key=lambda one: one.files[0])


def _series(files: list[_File], images: dict[str, list[_File]]) -> Series:
    first, paths = files[0], tuple(file.path for file in files)
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    others = any(folder in file.path.parents for uid, more in images.items() if uid != first.uid for file in more)
    path = paths[0] if len(paths) == 1 else folder / first.uid if others or first.uid not in images else folder
    localiser = _localisers(files)
    about = tuple(file.about for file in files)
    return Series(
        path,
        paths,
        first.uid,
        first.study,
        first.modality,
        first.description,
        first.patient,
        localiser,
        first.segments,
        about,
    )


def _localisers(files: Sequence[_File]) -> bool:
    return all(file.localiser for file in files)


Stamps = tuple[tuple[str, int, int], ...]
LONG, AGAIN = 0.2, 50
"""A walk through a folder that takes more seconds of work than this is not repeated for so many times as long."""
_walked: dict[Path, tuple[float, Stamps]] = {}


def _stamps(folder: Path) -> Stamps:
    """Each file in a folder with its size and time of change, which tell whether it was changed.

    Every series in a folder asks for them, several times. So those of a large tree are used again for a while.
    """
    until, known = _walked.get(folder, (0.0, ()))
    if time.monotonic() < until:
        return known
    began = time.thread_time()  # a busy computer makes no tree large
    found = _walk(folder)
    took = time.thread_time() - began
    if took > LONG:
        _walked[folder] = time.monotonic() + AGAIN * took, found
    return found


def _walk(folder: Path) -> Stamps:
    found = []
    try:
        for place, below, names in os.walk(folder, onerror=_can_not):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                path = Path(place, name)
                if name.lower().endswith(WHOLE) and not path.is_file():
                    continue  # whatever it is, no slice of a series
                if not name.startswith(".") and name != "DICOMDIR":
                    about = path.stat()
                    if not stat.S_ISREG(about.st_mode):
                        continue  # a pipe may have no end
                    found.append((str(path), about.st_size, about.st_mtime_ns))
    except OSError as error:
        _can_not(error)
    return tuple(found)


def _can_not(error: OSError) -> None:
    advice = "Check that it exists and that you have permission to read it."
    raise DataError(f"{error.filename}: can't be read: {error.strerror}", advice) from error


@lru_cache(maxsize=8)
def _headers(folder: Path, stamps: Stamps, pseudonyms: Pseudonyms | None) -> tuple[_File, ...]:
    """What is known of each DICOM file with an image."""
    found, others, problems = [], [], []
    for name, _, _ in stamps:
        path = Path(name)
        if is_dicom(path) or path.suffix.lower() == ".dcm":
            try:
                file = _file(path, pseudonyms)
            except DataError as error:
                problems.append(error)
                continue
            if file is not None:
                found.append(file)
            else:
                others.append(path)
    problems += _truncated(others, {file.uid for file in found})
    refuse(problems, f"{folder}: DICOM files that can't be read")
    return tuple(found)


def _truncated(paths: Sequence[Path], series: set[str]) -> Iterator[DataError]:
    """Files without an image, although by their class they have one, and are of a series with images: their headers
    are cut off. Left out, the last slice of a series would be missing without a word."""
    for path in paths:
        header = read_header(path, ("SOPClassUID", "SeriesInstanceUID"))
        uid = text(header, "SeriesInstanceUID", path)
        if IMAGES in quiet_pydicom().uid.UID(text(header, "SOPClassUID", path)).name and (not uid or uid in series):
            yield DataError(f"{path}: can't be read: an image without its size (Rows) in its header", DAMAGED)


def _file(path: Path, pseudonyms: Pseudonyms | None) -> _File | None:
    """What is kept of a file; None if it contains no image."""
    header = read_header(path, [*TAGS, "PatientID"] if pseudonyms else TAGS)
    if not text(header, "Rows", path):
        if not (is_dicom(path) or text(header, "SOPClassUID", path)):
            raise DataError(f"{path}: can't be read: not a DICOM file", DAMAGED)
        return None
    uid = text(header, "SeriesInstanceUID", path)
    if UID.fullmatch(uid) is None:
        raise DataError(f"{path}: no valid SeriesInstanceUID in its header: it belongs to no series", HEADER)
    segments = text(header, "SOPClassUID", path) in SEGMENTATIONS
    referred = items(header, "ReferencedSeriesSequence", path) if segments else []
    about = frozenset(text(item, "SeriesInstanceUID", path) for item in referred)
    return _File(
        path,
        uid,
        text(header, "StudyInstanceUID", path),
        text(header, "Modality", path),
        text(header, "SeriesDescription", path),
        pseudonyms.of(text(header, "PatientID", path)) if pseudonyms else "",
        "LOCALIZER" in text(header, "ImageType", path).upper().split("\\"),
        segments,
        about,
    )


def parts_of(path: Path) -> Iterator[Path]:
    """All files of an image: its file; of a header, also its voxel file; of a DICOM series, its files; of another
    folder, every file in it."""
    if path.is_dir() and not find_series(path):
        yield from sorted(inner for inner in path.rglob("*") if inner.is_file())
    elif is_series(path):
        yield from series_files(path)
    elif path.is_file():
        beside = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")) if path.suffix.lower() == ".mhd" else []
        named = voxel_file(path)
        yield from dict.fromkeys([path, *beside, *([named] if named else [])])
