"""Which images are to be predicted: those in a folder, those in a table, or DICOM series."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from relay.data import (
    PICTURES,
    TABLES,
    VOLUMES,
    WHOLE,
    NamedFiles,
    Row,
    Sheet,
    axes_of,
    clean,
    cure_of,
    find_series,
    is_dicom,
    is_missing,
    is_series,
    kind_of,
    read_sheet,
    stem,
)
from relay.errors import DataError, UserError, some
from relay.files import inside, unreadable
from relay.predict import Takes, images_of

SHEETS = (".xlsx", ".xls", ".ods")
KINDS = (
    "Give a folder of images (.png, .jpg, .tif, .nii.gz, .mha, .nrrd, …) or of DICOM series; a table (.csv, .tsv) that "
    "lists them; or one image."
)
LONGEST = 200
"""How many bytes the name of what is made of an image may have; file systems allow 255, endings included."""
USUAL = ("image", "file", "path", "filename")
"""What the column of a table's images is called, if it has no ``Channel_0``; in any case."""


@dataclass(frozen=True)
class Wanted:
    """An image to predict.

    Attributes:
        name: of what is made of it: a path below the output folder, without an extension; unique.
        files: its file, or the file of each channel.
        said: what it is called in the table of results: its path, seen from the folder or table that was given.
        columns: what else the given table says about it.
        problem: why it can't be predicted; empty if nothing is known against it.
    """

    name: str
    files: tuple[Path, ...]
    said: str
    columns: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def listed(
    given: Path,
    takes: Takes,
    without: Path,
    columns: Sequence[str] = (),
    options: object = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Wanted]:
    """The images in a folder and its subfolders, of a table, or the one that a path names.

    Args:
        takes: what the model takes as one image.
        without: the output folder, which is no input even if it is below ``given``.
        columns: those of a table that name the image's files, one for each channel; empty: see :data:`USUAL`.
        options: of the study's own data set: tables are read as that set reads them.
        warn: told which links to folders are not followed.

    Raises:
        UserError: there are none, or the path can't be read.
        DataError: the table can't be read or lacks a column.
    """
    if not is_series(given) and (why := unreadable(given)):
        why = "there is no such file or folder" if why == "no such file" else why
        raise UserError(f"--images {given}: {why}", f"Check the path. {KINDS}")
    if given.suffix.lower() in SHEETS:
        raise UserError(f"{given} is a spreadsheet program's file", "Save it as CSV UTF-8, and give that file.")
    if given.is_file() and given.suffix.lower() in TABLES:
        found = list(_rows(read_sheet(given, columns), takes, columns, options))
    elif given.is_dir():
        found = list(_below(given, takes, without, warn))
    else:
        found = [Wanted("", (given,) * (takes.channels if takes.one_file else 1), given.name)]
    if not found:
        raise UserError(f"there are no images in {given}", KINDS)
    return _named(found)


def check_axes(wanted: Sequence[Wanted], allowed: Sequence[int]) -> None:
    """Check, by headers and before any work, that the model takes at least one of the images: all may be pictures, and
    the model be for volumes.

    Raises:
        UserError: it takes none.
    """
    found = []
    for one in wanted:
        try:
            axes = None if one.problem else axes_of(one.files[0])
        except DataError:
            return  # it is told later
        if axes is None or axes in allowed:
            return
        found.append(axes)
    raise UserError(
        f"the model takes {kind_of(allowed[0])}, but each of these {len(found)} "
        f"images has {' or '.join(map(str, sorted(set(found))))} axes",
        cure_of(allowed[0]),
    )


def _below(folder: Path, takes: Takes, without: Path, warn: Callable[[str], None]) -> Iterator[Wanted]:
    files, links, top, without = [], [], folder.resolve(), without.resolve()
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or without in (top / place).parents:
            continue
        if path.is_dir():
            links += [place.as_posix()] if path.is_symlink() else []
        elif path.name.lower().endswith(WHOLE):
            if why := unreadable(path):
                yield Wanted("", (path,), place.as_posix(), problem=f"{path}: {why}")
            elif not is_dicom(path):
                files.append(path)
    if links:
        warn(f"links to folders are not followed: {some(links)}. Predict what is in them apart, with another -o")
    for each in images_of(files, takes):
        yield Wanted("", each, each[0].relative_to(folder).as_posix())
    yield from _series(folder, folder, takes, without)


def _series(folder: Path, top: Path, takes: Takes, without: Path) -> Iterator[Wanted]:
    """The DICOM series in a folder; where files of one can't be read, those of each of its subfolders."""
    many = takes.channels if takes.one_file else 1
    try:
        for series in find_series(folder):
            if series.scan and without not in series.files[0].resolve().parents:
                name = series.path.relative_to(top).as_posix()
                yield Wanted("", (series.path,) * many, series.path.name if name == "." else name)
    except DataError as error:
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
        below = [path for path in inner if not path.is_symlink()]
        if not below or any(map(is_dicom, folder.iterdir())):
            yield Wanted("", (folder,), folder.relative_to(top).as_posix(), problem=str(error))
            return
        for each in below:
            yield from _series(each, top, takes, without)


def _rows(sheet: Sheet, takes: Takes, columns: Sequence[str], options: object) -> Iterator[Wanted]:
    named = list(columns) or _columns(sheet, options)
    sheet.need(named, "Name the columns of the images with --columns")
    many = takes.channels if takes.one_file and len(named) == 1 else 1
    there, folders = NamedFiles(), [sheet.path.parent]
    if hasattr(options, "image_columns"):  # the study's images are listed in tables: first where the study has them
        folders.insert(0, sheet.path.parent / getattr(options, "image_dir", "."))
    for row in sheet.rows:
        missing = [column for column in named if is_missing(row[column])]
        try:
            files = tuple(_file(there, folders, row, column) for column in named) * many
        except (DataError, OSError) as error:
            yield Wanted("", (sheet.path.parent,), row[named[0]], {}, f"line {row.line}: {error}")
            continue
        wrong = [f"{why}: {path}" for path in dict.fromkeys(files) if (why := _lacking(path))]
        problem = f"line {row.line}: no file in {', '.join(missing)}" if missing else ""
        problem = problem or (f"line {row.line}: {'; '.join(wrong)}" if wrong else "")
        others = {column: row[column] for column in sheet.header if column not in named}
        yield Wanted("", files, row[named[0]] or f"line {row.line}", others, problem)


def _columns(sheet: Sheet, options: object) -> list[str]:
    own = [clean(name) for name in getattr(options, "image_columns", None) or ()]
    if own and set(own) <= set(sheet.header):
        return own
    channels = {int(found[1]): name for name in sheet.header if (found := re.fullmatch(r"Channel_(\d+)", name))}
    if channels:
        return [channels[number] for number in sorted(channels)]
    return [name for name in sheet.header if name.lower() in USUAL][:1] or ["image"]


def _file(there: NamedFiles, folders: Sequence[Path], row: Row, column: str) -> Path:
    """A cell's file, seen from one of the folders."""
    if is_missing(row[column]):
        return folders[0] / row[column]
    return there.find(folders, row, column) or folders[0] / row[column]


def _lacking(path: Path) -> str:
    """Why there is no image at a path from a table, in words; empty if there may be one."""
    why = unreadable(path)
    return "" if why == "no such file" and is_series(path) else why


def _named(found: Sequence[Wanted]) -> list[Wanted]:
    """Each with a name of its own: what it is called without the extension or, where several share that, with it."""
    plain = [(Path(one.said).parent / _stem(one)).as_posix() for one in found]
    several = Counter(name.casefold() for name in plain)
    names = [one.said if several[name.casefold()] > 1 else name for one, name in zip(found, plain, strict=True)]
    again, made = Counter[str](), []
    for one, name in zip(found, names, strict=True):
        again[name.casefold()] += 1
        count = again[name.casefold()]
        path = _short(inside((name if count == 1 else f"{name}_{count}").replace("\\", "/")))
        made.append(Wanted(path.as_posix(), one.files, one.said, one.columns, one.problem))
    return made


def _short(path: Path) -> Path:
    """A path whose name leaves room for the endings of what is made of it."""
    if len(path.name.encode(errors="surrogateescape")) <= LONGEST:
        return path
    digits = sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:8]
    return path.with_name(f"{path.name[: LONGEST // 4]}-{digits}")


def _stem(one: Wanted) -> str:
    """Of several channels, without the number of the first."""
    path = Path(one.said)
    name = stem(path) if path.name.lower().endswith(PICTURES + VOLUMES) else path.name
    return re.sub(r"_\d{4}$", "", name) if len(set(one.files)) > 1 else name
