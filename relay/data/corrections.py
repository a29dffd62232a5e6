"""Masks that people have corrected by hand: a folder that stays at the site.

``<folder>/<image>/<version>.png`` (or ``.nii.gz``, in the place of its image) has class indices; ``<version>.json``
beside it says who corrected what, and when. It is written last: a mask without it does not count. A version is never
overwritten, and a stored mask is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from relay.data.formats.labels import class_indices
from relay.data.read import read_mask
from relay.data.record import Pixels, Record
from relay.errors import DataError, UserError
from relay.files import damaged, inside, read_bytes, read_json

AGAIN = "Restore it from a backup. Or remove both files of this version: the version before then counts again."
NUMBERED = re.compile(r"[1-9]\d{0,8}")


@dataclass(frozen=True)
class Correction:
    """A version of an image's mask.

    Attributes:
        image: The image's id in its data set; of a volume that is read as slices, the volume's.
        version: From 1.
        by: Who corrected it.
        when: In UTC, as in ISO 8601.
        source: What was corrected: ``stored`` (the data set's mask), ``version N``, or ``prediction DIGEST`` (of the
            model).
        mask: The name of the mask's file.
        sha256: Its digest.
        changed: For each class that differs from the source, its voxels ``added`` and ``removed``.
    """

    image: str
    version: int
    by: str
    when: str
    source: str
    mask: str
    sha256: str
    changed: Mapping[str, Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        """The content of its JSON file."""
        return {"format": 1, **asdict(self)}


TEXTS = ("image", "by", "when", "source", "mask", "sha256")
FIELDS: Mapping[str, type] = {**dict.fromkeys(TEXTS, str), "version": int, "changed": dict}


@dataclass(frozen=True)
class Corrections:
    """A folder of corrections."""

    folder: Path

    def of(self, image: str) -> Path:
        """The folder of an image's versions."""
        return self.folder / inside(image)

    def history(self, image: str) -> list[Correction]:
        """All versions of an image's mask, oldest first; the masks are not read.

        Raises:
            UserError: one of its files is damaged, or can't be read.
        """
        place = self.of(image)
        names = [path.stem for path in place.glob("*.json")] if place.is_dir() else []
        return [self._read(image, number) for number in sorted(int(name) for name in names if NUMBERED.fullmatch(name))]

    def newest(self, image: str) -> Correction | None:
        """The last version of an image's mask; None if nobody has corrected it. Raises as :meth:`history`."""
        found = self.history(image)
        return found[-1] if found else None

    def path(self, correction: Correction) -> Path:
        """The mask's file."""
        return self.of(correction.image) / correction.mask

    def check(self, correction: Correction) -> Path:
        """The mask's file, after its digest was compared.

        Raises:
            UserError: it is missing or has changed.
        """
        path = self.path(correction)
        try:
            found = sha256(read_bytes(path)).hexdigest()
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}", AGAIN) from error
        if found != correction.sha256:
            raise damaged(path, f"its digest differs from the one in {correction.version}.json", AGAIN)
        return path

    def mask(self, correction: Correction, classes: int) -> Pixels:
        """A version's class indices, uint8 ``(*S)``; raises as :meth:`check`."""
        return read_corrected(self.check(correction), classes)

    def _read(self, image: str, number: int) -> Correction:
        path = self.of(image) / f"{number}.json"
        try:
            said = read_json(path, AGAIN)
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}", AGAIN) from error
        if odd := [key for key, kind in FIELDS.items() if not isinstance(said.get(key), kind)]:
            raise damaged(path, f"'{odd[0]}' is missing or has the wrong type", AGAIN)
        found = Correction(**{key: said[key] for key in FIELDS})
        if (found.image, found.version) != (image, number):
            raise damaged(path, f"it is of version {found.version} of {found.image}", AGAIN)
        if found.mask not in (f"{number}.png", f"{number}.nii.gz"):
            raise damaged(path, f"it names the mask {found.mask}", AGAIN)
        return found


def read_corrected(path: Path, classes: int) -> Pixels:
    """A corrected mask as class indices, uint8 ``(*S)``.

    Raises:
        DataError: it can't be read, or has values that are no classes.
    """
    return class_indices(read_mask(path), range(classes), path)


def corrected(samples: Sequence[Record], folder: Path) -> list[Record]:
    """Records with the newest correction of each mask, if there is one.

    Raises:
        DataError: one is damaged.
    """
    store = Corrections(folder)

    def of(sample: Record) -> Record:
        newest = store.newest(sample.id)
        return replace(sample, corrected=store.check(newest)) if newest else sample

    try:
        return [of(sample) for sample in samples]
    except UserError as error:
        raise DataError(str(error), error.advice()) from error
