"""Images in a folder for each class: ``<root_path>/<img_folder>/<class>/NAME.png``, at any depth below it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal

from relay.config import options
from relay.data import (
    ClassWords,
    Dataset,
    DatasetOptions,
    Record,
    Regex,
    SplitName,
    Text,
    by_regex,
    clean,
    refuse,
    tree,
)
from relay.errors import DataError, nearest


@options
class ClassesOptions(DatasetOptions):
    """Options of :class:`Classes`.

    Attributes:
        class_dirs: The folder of each class, in the order of ``class_names``; None: these names. A site may lack some.
        split_dirs: The folders of published splits, each with the folders of the classes: ``{train: train, test:
            test}``. Images that are in none of them are not used.
        patient_regex: Finds the patient in an image's place below the folder of its class, without the extension
            (``p01/left``): group 1, or the whole match. Without it, every image is a patient.
    """

    task: Literal["classification"] = "classification"
    root_path: Text
    class_dirs: ClassWords | None = None
    split_dirs: dict[SplitName, Text] | None = None
    patient_regex: Regex | None = None


class Classes(Dataset):
    """Images in a folder for each class."""

    Options = ClassesOptions
    options: ClassesOptions

    def samples(self) -> list[Record]:
        """All images: folder by folder, split by split, class by class, each sorted by place."""
        problems: list[str] = []
        found = [record for name, part, folder in self._places() for record in self._in(name, part, folder, problems)]
        refuse(problems, f"{self}: images without a known patient", "Correct patient_regex, or remove these images.")
        return found

    def _places(self) -> Iterator[tuple[PurePath, SplitName | None, Path]]:
        """Each folder that has the folders of classes, with what its images' ids begin with, and its split."""
        for name in self.options.folder_names:
            if self.options.split_dirs is None:
                yield PurePath(name), None, self.root / name
            else:
                for part, inner in self.options.split_dirs.items():
                    yield PurePath(name, inner), part, self.root / name / inner

    def _in(self, name: PurePath, part: SplitName | None, folder: Path, problems: list[str]) -> Iterator[Record]:
        classes = [clean(each) for each in self.options.class_dirs or self.options.names]
        there = self._classes(folder, classes)
        for index, each in enumerate(classes):
            for inner, image in tree(there[each]).items() if each in there else ():
                plain = (name / each / inner).as_posix()
                pattern = self.options.patient_regex
                patient = plain if pattern is None else by_regex(pattern, inner)
                if patient is None:
                    problems.append(f"{image}: patient_regex does not match {inner}")
                yield Record(plain, patient or "", (image,), index, part)

    def _classes(self, folder: Path, classes: list[str]) -> dict[str, Path]:
        """The folders in ``folder``, each that of a class.

        Raises:
            DataError: there are others, or there is no such folder.
        """
        if not folder.is_dir():
            raise DataError(f"folder not found: {folder}", "Correct root_path, img_folder or split_dirs in the config.")
        there = {clean(path.name): path for path in sorted(folder.iterdir()) if path.is_dir()}
        there = {name: path for name, path in there.items() if not name.startswith(".")}
        others = [name for name in there if name not in classes]
        near = {name: nearest(name, classes) for name in others}
        refuse(
            [f"{there[name]}" + (f"; did you mean '{near[name]}'?" if near[name] else "") for name in others],
            f"{self}: folders that are no class; the classes are {', '.join(classes)}",
            f"Set class_names in the config ({', '.join(there)}), or class_dirs if the folders have other names. Move "
            "away folders that hold no class.",
        )
        return there
