"""An image and a text file of the same name that holds its label: ``NAME.png`` and ``NAME.txt``.

``<root_path>/<img_folder>/<image_dir>/NAME.png`` with ``…/<label_dir>/NAME.txt``. The text is a class by its name or
index; a number; or, for several labels, their names with ``|`` or line ends between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal

from relay.config import options
from relay.data import Dataset, DatasetOptions, Labels, Record, Regex, Text, by_regex, refuse, tree

MOST = 2**16
"""The size of the largest label file, in bytes; a report in full is none."""


@options
class TextLabelsOptions(DatasetOptions):
    """Options of :class:`TextLabels`.

    Attributes:
        image_dir: The sub-folder with the images; they may be in folders below it.
        label_dir: The sub-folder with the text files; the same as ``image_dir`` if they are beside the images.
        patient_regex: Finds the patient in an image's place below ``image_dir``, without the extension: group 1, or the
            whole match. Without it, every image is a patient.
    """

    task: Literal["classification", "multilabel", "regression"] = "classification"
    root_path: Text
    image_dir: Text = "image"
    label_dir: Text = "image"
    patient_regex: Regex | None = None


class TextLabels(Dataset):
    """Images with text files of the same name."""

    Options = TextLabelsOptions
    options: TextLabelsOptions

    def folders(self) -> list[Path]:
        """The image and the label folder of each ``img_folder``."""
        parts = dict.fromkeys((self.options.image_dir, self.options.label_dir))
        return [self.root / name / part for name in self.options.folder_names for part in parts]

    def samples(self) -> list[Record]:
        """All images, folder by folder, each sorted by place."""
        problems: list[str] = []
        found = [record for name in self.options.folder_names for record in self._in(name, problems)]
        refuse(problems, f"{self}: images without a usable label or patient", "Correct these files, or remove both.")
        return found

    def _in(self, name: str, problems: list[str]) -> Iterator[Record]:
        labels, pattern = Labels(self.options), self.options.patient_regex
        for inner, image in tree(self.root / name / self.options.image_dir).items():
            plain = (PurePath(name) / inner).as_posix()
            patient = plain if pattern is None else by_regex(pattern, inner)
            if patient is None:
                problems.append(f"{image}: patient_regex does not match {inner}")
            target = None
            path = self.root / name / self.options.label_dir / f"{inner}.txt"
            try:
                target = labels("|".join(_text(path).split("\n")))
            except ValueError as error:
                problems.append(f"{path}: {error}")
            yield Record(plain, patient or "", (image,), target)


def _text(path: Path) -> str:
    """What a label file says.

    Raises:
        ValueError: it can't be read, or is too long.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
        text = data.decode("utf-8-sig").strip()
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if len(data) > MOST:
        raise ValueError(f"is no label: it has more than {MOST} bytes")
    return text
