"""A patient of a site: under which names its images are known here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relay.data import Dataset, Record, alike, site_pseudonyms
from relay.errors import UserError, nearest
from relay.files import inside
from relay.home import home_of

SHORTEST = 4
"""Names of fewer characters, or of digits alone, also stand for other things in a line of text."""


@dataclass(frozen=True)
class Person:
    """A patient of a site.

    Attributes:
        site: the site's name.
        names: the patient, as the data set writes it.
        images: ids of the images; of volumes that are read as slices, also those of the slices.
        files: the hospital's own files.
    """

    site: str
    names: frozenset[str]
    images: frozenset[str]
    files: tuple[Path, ...]

    def is_row(self, site: object, patient: object, sample: object) -> bool:
        """Whether a row of a table is about the patient."""
        return site == self.site and (patient in self.names or sample in self.images)

    def owns(self, path: Path, folder: Path) -> bool:
        """Whether a file in a folder has the name of one of the images, whatever its ending."""
        place = path.relative_to(folder)
        return any(place == (own := inside(image)).with_name(own.name + _ending(place, own)) for image in self.images)

    @cached_property
    def in_text(self) -> re.Pattern[str]:
        """Finds the patient in a line of text: names, ids, and names of files."""
        words = {*self.names, *self.images, *(file.name for file in self.files)}
        found = [re.escape(word) for word in words if len(word) >= SHORTEST and not word.isdigit()]
        return re.compile(r"(?<!\w)(?:" + "|".join(sorted(found)) + r")(?!\w)") if found else re.compile(r"(?!)")


def _ending(place: Path, own: Path) -> str:
    """What a file's name has after that of an image: ``.nii.gz``, and nothing that could be part of another name."""
    rest = place.name[len(own.name) :]
    return rest if rest in (".png", ".nii.gz") else "\0"


def person(dataset: Dataset, patient: str) -> Person:
    """A patient of a data set, by the name that it has there; of DICOM, also by the hospital's own number.

    Raises:
        UserError: there is no such patient.
        DataError: the data set can't be read.
    """
    site, wanted = dataset.options.task_name, {alike(patient), *_pseudonym(patient)}
    found = [sample for sample in (*dataset.volumes, *dataset.listing) if alike(sample.patient) in wanted]
    if not found:
        near = nearest(patient, sorted({sample.patient for sample in dataset.listing}))
        raise UserError(
            f"site {site} has no patient '{patient}'" + (f"; did you mean '{near}'?" if near else ""),
            "Give the patient as the table, or the names of the files, have it. If the images are gone already, "
            "restore them for this command: without them, nobody knows which files of the runs are the patient's.",
        )
    images = frozenset(sample.id for sample in found)
    return Person(site, frozenset(sample.patient for sample in found), images, tuple(_files(found)))


def _pseudonym(number: str) -> Iterable[str]:
    """The patient's pseudonym, if this site has made any."""
    if (home_of(None) / "pseudonyms.key").is_file():
        yield alike(site_pseudonyms().of(number))


def _files(samples: Iterable[Record]) -> list[Path]:
    targets = ((*sample.images, *((sample.target,) if isinstance(sample.target, Path) else ())) for sample in samples)
    return list(dict.fromkeys(path for files in targets for path in files))
