"""Images that were dropped on the page to be predicted: kept under names of our own in a private folder of the home.

::

    <home>/page/uploads/<digits>/01_ct/IM0001    a folder for each folder that the files came from

Names from a browser are only hints: they are cut down to harmless characters, and no path in them is followed.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from relay.app.jobs import OVER, Job, private
from relay.app.web import MOST_FILES
from relay.errors import UserError

MOST_BYTES = 4 * 2**30
"""How much may be dropped at once."""
LONGEST = 40
"""How many characters of a name are kept, and of its endings: masks have names by which their images are found."""
VOLUMES, PICTURES = (".nii", ".nii.gz", ".mha", ".nrrd"), (".png", ".bmp", ".tif", ".tiff")
"""Formats in which a mask is given back; a GIF may get its colours in another order."""
ENDINGS = (".nii.gz", *VOLUMES, *PICTURES, ".gif", ".jpg", ".jpeg", ".dcm")
MASK = re.compile(r"(.+)-[0-9a-f]{8}_mask\.(?:png|nii\.gz)")
KEPT = 50
"""How many characters of an image's name its mask's name keeps (:mod:`relay.predict.image`)."""


@dataclass(frozen=True)
class Predicted:
    """An image that was predicted, and its mask."""

    image: Path
    mask: Path


def check_size(request: Request) -> None:
    """Refuse what is too large before it is read.

    Raises:
        UserError: it has too many bytes, or does not say how many.
    """
    told = request.headers.get("content-length", "")
    if not told.isdigit() or int(told) > MOST_BYTES:
        raise UserError(
            f"these files have more than {MOST_BYTES >> 30} GiB together",
            "Drop fewer at once, or predict them in a terminal: relay predict -c CONFIG -n NOTE --image FOLDER",
        )


def keep(root: Path, files: Iterable[tuple[str, BinaryIO]]) -> list[Path]:
    """Copy files to a new folder of their own; return the folders to predict, one for each that they came from.

    Args:
        files: the path that the browser says, and the content.

    Raises:
        UserError: there are none.
    """
    private(root.parent)
    folder = root / secrets.token_hex(8)
    try:
        return _kept(folder, files)
    except BaseException:  # a full disk: what was copied would only fill it
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _kept(folder: Path, files: Iterable[tuple[str, BinaryIO]]) -> list[Path]:
    places: dict[str, Path] = {}
    for said, content in files:
        source, _, name = said.replace("\\", "/").rpartition("/")
        number = list(places).index(source) + 1 if source in places else len(places) + 1
        place = places.setdefault(source, folder / _folder_name(source, number))
        place.mkdir(parents=True, exist_ok=True)
        with _free(place, plain_name(name, number)).open("xb") as file:
            shutil.copyfileobj(content, file, 2**20)
    if not places:
        raise UserError("no files were given", "Drop images, a folder of images or a DICOM series, or choose files.")
    return [*places.values()]


def _folder_name(source: str, number: int) -> str:
    """A DICOM series is named by its folder."""
    return f"{number:02d}_{plain_name(source.rpartition('/')[2])}" if source else f"{number:02d}"


def plain_name(name: str, folder: int = 1) -> str:
    """A harmless name that keeps the letters and digits of a name and its endings. Files of several folders get the
    folder's number, so that no two masks can be taken for each other."""
    stem, dot, endings = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-").partition(".")
    mark = f"{folder:02d}_" if folder > 1 else ""
    return f"{mark}{stem[-LONGEST:].lstrip('-_') or 'image'}{dot}{endings[-LONGEST:]}"


def _free(folder: Path, name: str) -> Path:
    stem, dot, endings = name.partition(".")
    tried = (folder / (f"{stem}-{n}{dot}{endings}" if n else name) for n in range(MOST_FILES + 1))
    return next(path for path in tried if not path.exists())


def given_in(job: Job) -> list[Path]:
    """The folders of images that a job predicts.

    Raises:
        UserError: it predicts no dropped images.
    """
    found = [Path(word) for flag, word in pairwise(job.words) if flag == "--image"]
    root = (job.folder.parents[1] / "uploads").resolve()
    if job.words[:1] != ("predict",) or not found or not all(path.resolve().parents[1] == root for path in found):
        raise UserError(f"job {job.number} predicts no images that were dropped here", "Choose a run: Results.")
    return found


def remove(job: Job) -> None:
    """Remove the dropped images of a job, and what it has predicted for them.

    Raises:
        UserError: the job still needs them, or predicts no dropped images.
    """
    folders = given_in(job)
    if job.state not in OVER:
        raise UserError("the job still needs these images", "Wait for it, or stop it: Jobs.")
    for path in _written(job):  # masks, tables, and overlays, which show the image
        if path.resolve().is_relative_to(Path(job.cwd).resolve()):
            path.unlink(missing_ok=True)
    for folder in {folder.parent for folder in folders}:
        shutil.rmtree(folder, ignore_errors=True)


def predicted(job: Job) -> list[Predicted]:
    """The dropped images that a job has predicted so far, as its output says."""
    from relay.predict import images_in

    masks: dict[str, list[Path]] = defaultdict(list)
    for path in _written(job):
        if found := MASK.fullmatch(path.name):
            masks[found[1]].append(path)
    made = []
    for image in images_in([folder for folder in given_in(job) if folder.is_dir()]):
        if left := masks.get(image.name[:KEPT]):
            made.append(Predicted(image, left.pop(0)))
    return made


def answers_of(job: Job) -> Path | None:
    """The table of answers that a job has written, for a task without masks."""
    return next((path for path in _written(job) if path.name.endswith("_answers.csv")), None)


def _written(job: Job) -> list[Path]:
    return [Path(job.cwd) / line for line in re.findall(r"^Written: (.+)$", job.output, re.MULTILINE)]


def in_its_format(one: Predicted) -> tuple[str, bytes]:
    """A mask as a file for who gave the image, in the image's format where that can hold a mask: its name, its bytes.

    JPEG would change its values, and a DICOM series is many files: these get the PNG or NIfTI that relay writes.
    """
    name = one.image.name
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    stem = plain_name(name[: len(name) - len(ending)])
    own = ".nii.gz" if one.mask.name.endswith(".nii.gz") else ".png"
    as_volume, as_picture = own == ".nii.gz" and ending in VOLUMES, own == ".png" and ending in PICTURES
    if ending == own or not (as_volume or as_picture):
        return f"{stem}_mask{own}", one.mask.read_bytes()
    with tempfile.TemporaryDirectory(dir=one.image.parent.parent) as folder:
        path = Path(folder) / f"mask{ending}"
        _volume(one.mask, path) if as_volume else _picture(one.mask, path)
        return f"{stem}_mask{ending}", path.read_bytes()


def _volume(mask: Path, path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.ReadImage(str(mask)), str(path), useCompression=True)


def _picture(mask: Path, path: Path) -> None:
    from PIL import Image

    with Image.open(mask) as opened:
        opened.save(path)
