"""A data set of nnU-Net, version 2 (Isensee et al. 2021, 10.1038/s41592-020-01008-z).

``<root_path>/<img_folder>/dataset.json`` names channels, labels and the file ending; ``imagesTr/CASE_0000.nii.gz``,
``CASE_0001.nii.gz``, … are a case's channels, ``labelsTr/CASE.nii.gz`` its mask. A colour picture has its three
channels in one file, ``CASE_0000.png``, if they are called R, G and B. Cases of ``imagesTs`` with a mask in
``labelsTs`` are the published test set; those without are not used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Literal

from relay.config import options
from relay.data import PICTURES, VOLUMES, Dataset, DatasetOptions, Record, Regex, Text, by_regex, clean, refuse
from relay.errors import DataError, UserError
from relay.files import read_json

PARTS: tuple[tuple[str, Literal["train", "test"]], ...] = (("Tr", "train"), ("Ts", "test"))
OLD = "It has the form of nnU-Net version 1 or of the Medical Segmentation Decathlon. Convert it first: "
CONVERT = OLD + "nnUNetv2_convert_MSD_dataset, or nnUNetv2_convert_old_nnUNet_dataset."


@options
class NnUNetOptions(DatasetOptions):
    """Options of :class:`NnUNet`.

    Attributes:
        img_folder: The folder of the data set, such as ``Dataset004_Hippocampus``; or several.
        patient_regex: Finds the patient in a case's name: group 1, or the whole match. Without it, every case is a
            patient.
    """

    task: Literal["segmentation"] = "segmentation"
    root_path: Text
    patient_regex: Regex | None = None


class NnUNet(Dataset):
    """Cases of nnU-Net."""

    Options = NnUNetOptions
    options: NnUNetOptions

    @staticmethod
    def about_of(folder: Path) -> About:
        """What a folder's ``dataset.json`` says."""
        return About(folder / "dataset.json")

    def folders(self) -> list[Path]:
        """The training images and masks of each data set."""
        return [self.root / name / part for name in self.options.folder_names for part in ("imagesTr", "labelsTr")]

    def mask_values(self) -> Sequence[int]:
        """The labels of ``dataset.json``, background first."""
        return list(self.about[0].labels.values())

    @cached_property
    def about(self) -> list[About]:
        """What each ``dataset.json`` says, checked against the options and each other.

        Raises:
            DataError: one is missing, damaged or of another form, or does not fit.
        """
        found = [About(self.root / name / "dataset.json") for name in self.options.folder_names]
        for about in found:
            about.check(self.options.num_classes, self.options.channels, self.options.class_names)
            if about.labels != found[0].labels:
                raise DataError(
                    f"{about.path}: labels differ from those of {found[0].path}", "Give both the same labels."
                )
        return found

    def samples(self) -> list[Record]:
        """All cases with a mask, training before test, each sorted by name."""
        problems: list[str] = []
        found = [
            record
            for name, about in zip(self.options.folder_names, self.about, strict=True)
            for end, part in PARTS
            for record in self._in(self.root / name, end, part, about, problems)
        ]
        refuse(problems, f"{self}: cases that are not complete", "Add the missing files, or remove these cases.")
        return found

    def _in(
        self, folder: Path, end: str, part: Literal["train", "test"], about: About, problems: list[str]
    ) -> Iterator[Record]:
        masks = {_case(path, about.ending): path for path in _files(folder / f"labels{end}", about.ending)}
        cases = _cases(folder / f"images{end}", about.ending)
        alone = sorted(masks.keys() - cases.keys())
        problems += [
            f"{masks[name]}: no image {name}_0000{about.ending} in {folder / f'images{end}'}" for name in alone
        ]
        for name, channels in sorted(cases.items()):
            if name not in masks:
                if part == "train":
                    problems.append(f"{folder / f'labels{end}' / name}{about.ending}: no such mask")
                continue
            missing = [k for k in range(about.files) if k not in channels]
            problems += [f"{folder / f'images{end}' / name}_{k:04d}{about.ending}: no such channel" for k in missing]
            images = tuple(channels[k] for k in sorted(channels) if k < about.files)
            yield Record(self._id(folder, end, name), self._who(name, problems), images, masks[name], part)

    def _id(self, folder: Path, end: str, name: str) -> str:
        several = len(self.options.folder_names) > 1
        return PurePath(*([folder.name] if several else []), *(["test"] if end == "Ts" else []), name).as_posix()

    def _who(self, name: str, problems: list[str]) -> str:
        pattern = self.options.patient_regex
        patient = name if pattern is None else by_regex(pattern, name)
        if patient is None:
            problems.append(f"{name}: patient_regex does not match it")
        return patient or ""


class About:
    """A ``dataset.json``.

    Attributes:
        channels: The names of the channels, in order.
        labels: The value of each class, background first.
        ending: The ending of all files.
        files: The files of a case: one for each channel, or one for all three of a colour picture.

    Raises:
        DataError: it is missing, damaged or of another form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file", "Correct root_path or img_folder: it must be a folder of nnU-Net.")
        try:
            content = read_json(path, "Write it again, or copy it from its source.")
        except UserError as error:
            raise DataError(str(error), error.advice()) from error
        if "channel_names" not in content and "modality" in content:
            raise DataError(f"{path}: has no channel_names", CONVERT)
        self.channels = self._channels(content.get("channel_names"))
        self.labels = self._labels(content.get("labels"))
        self.ending = self._text(content.get("file_ending"))
        colour = [name[:1].lower() for name in self.channels] == ["r", "g", "b"] and self.ending.lower() in PICTURES
        one = colour and not any((path.parent / "imagesTr").glob(f"*_0001{self.ending}"))
        self.files = 1 if one else len(self.channels)

    def check(self, num_classes: int | None, channels: int, class_names: Sequence[str] | None = None) -> None:
        """Compare it with what the config says.

        Raises:
            DataError: they differ.
        """
        names = ", ".join(self.labels)
        if num_classes != len(self.labels):
            raise DataError(
                f"{self.path}: {len(self.labels)} labels ({names}), but num_classes is {num_classes}",
                f"Set num_classes: {len(self.labels)} in the config.",
            )
        if class_names and sorted(class_names) == sorted(self.labels) and list(class_names) != list(self.labels):
            raise DataError(
                f"{self.path}: the labels in the order of their values are {names}, but class_names is "
                f"{', '.join(class_names)}",
                "Give the labels the values that they have at the other sites, in labels and in the masks; or, if no "
                "other site takes part, correct class_names.",
            )
        if channels != len(self.channels) and not (self.files == 1 and channels in (1, 3)):  # grey or colour pictures
            raise DataError(
                f"{self.path}: {len(self.channels)} channels ({', '.join(self.channels)}), but channels is {channels}",
                f"Set channels: {len(self.channels)} in the config.",
            )

    def _channels(self, said: Any) -> list[str]:
        if not isinstance(said, Mapping) or sorted(said, key=str) != sorted(map(str, range(len(said)))) or not said:
            raise self._wrong("channel_names", said, 'numbers from 0 with names: {"0": "CT"}')
        return [str(said[str(k)]) for k in range(len(said))]

    def _labels(self, said: Any) -> dict[str, int]:
        if isinstance(said, Mapping) and any(isinstance(value, list) for value in said.values()):
            raise DataError(
                f"{self.path}: labels that overlap (regions) are not supported",
                "Give each region a number of its own in the masks, and in labels.",
            )
        if isinstance(said, Mapping) and "ignore" in said:
            raise DataError(
                f"{self.path}: the label 'ignore' is not supported", "Give these voxels a class, or remove the cases."
            )
        whole = isinstance(said, Mapping) and all(type(v) is int and v >= 0 for v in said.values())
        if not whole or said.get("background") != 0 or len(set(said.values())) < len(said) or len(said) < 2:
            raise self._wrong("labels", said, 'names with whole numbers: {"background": 0, "tumour": 1}')
        return dict(sorted(said.items(), key=lambda item: item[1]))

    def _text(self, said: Any) -> str:
        if not isinstance(said, str) or said.lower() not in PICTURES + VOLUMES:
            raise self._wrong("file_ending", said, f"one of {', '.join(PICTURES + VOLUMES)}")
        return said

    def _wrong(self, key: str, value: object, allowed: str) -> DataError:
        return DataError(f"{self.path}: {key} is {str(value)[:200]}; it must be {allowed}", "Correct the file.")


def _files(folder: Path, ending: str) -> list[Path]:
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in there if path.name.endswith(ending) and not path.name.startswith(".")]


def _case(path: Path, ending: str) -> str:
    return clean(path.name.removesuffix(ending))


def _cases(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    """The channels of each case; files without a channel's number belong to none."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in _files(folder, ending):
        if match := re.fullmatch(r"(.+)_(\d{4})", _case(path, ending)):
            found[match[1]][int(match[2])] = path
    return found
