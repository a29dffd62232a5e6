"""A data set of DeepHealth's libraries ECVL and EDDL: one YAML file that lists images, labels and splits.

See https://github.com/deephealthproject/ecvl/wiki/DeepHealth-Toolkit-Dataset-Format. ``relay data table`` writes the
form, too (:func:`relay.start.write_ecvl`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from pydantic import ValidationInfo, field_validator

from relay.config import options
from relay.data import (
    Dataset,
    DatasetOptions,
    Labels,
    MaskValues,
    Record,
    Regex,
    SplitName,
    Text,
    by_regex,
    clean,
    is_missing,
    of_person,
    refuse,
    stem,
)
from relay.errors import DataError, nearest
from relay.files import exists, read_bytes

PARTS: dict[str, SplitName] = {"training": "train", "validation": "val", "test": "test"}
SUBJECT = "SubjectID"
FIX = "Correct these images in the file, or remove them."


@options
class ECVLOptions(DatasetOptions):
    """Options of :class:`ECVL`.

    Attributes:
        file: The YAML file in each ``img_folder``; the places in it are seen from it.
        target: For regression, the feature to predict (one of the file's ``features``); None uses labels.
        patient: The feature that names the patient; None: ``SubjectID`` if there is one (``relay data table`` writes
            it), else every image is a patient, unless there is a ``patient_regex``.
        patient_regex: Finds the patient in that feature, or, without ``patient``, in an image's place without the
            extension.
        mask_values: The mask value of each class, background first; None: the class indices 0, 1, ….
        published_split: Use the file's split, if it has one.
    """

    root_path: Text
    file: Text = "dataset.yml"
    target: Text | None = None
    patient: Text | None = None
    patient_regex: Regex | None = None
    mask_values: MaskValues | None = None
    published_split: bool = True

    @field_validator("target")
    @classmethod
    def _of_numbers(cls, feature: str | None, info: ValidationInfo) -> str | None:
        if feature is not None and info.data.get("task") != "regression":
            raise ValueError("only a regression predicts a feature")
        return feature


class ECVL(Dataset):
    """Images listed in a YAML file of ECVL."""

    Options = ECVLOptions
    options: ECVLOptions

    def samples(self) -> list[Record]:
        """All images, file by file, in their order."""
        problems: list[str] = []
        found: list[Record] = []
        for name in self.options.folder_names:
            file = _File(self.root / name / self.options.file, self.options)
            prefix = PurePath(name) if len(self.options.folder_names) > 1 else PurePath()
            found += [file.record(k, prefix, problems) for k in range(len(file.images))]
        refuse(problems, f"{self}: images that can't be used", FIX)
        return found


class _File:
    """One YAML file; every value is read as text, so that a class ``no`` stays one.

    Raises:
        DataError: it can't be read, or lacks what the options name.
    """

    def __init__(self, path: Path, options: ECVLOptions) -> None:
        self.path, self.options = path, options
        content = _content(path)
        self.images = [{"location": each} if isinstance(each, str) else each for each in _list(path, content, "images")]
        self.features = [str(each) for each in _list(path, content, "features")] if "features" in content else []
        self.classes = [str(each) for each in _list(path, content, "classes")] if "classes" in content else None
        self.labels = self._labels()
        self.parts = self._parts(content.get("split") or {}) if options.published_split else {}
        self.patient = options.patient or self._patient()
        self.places: dict[str, int] = {}
        for feature in filter(None, (options.target, options.patient)):
            if feature not in self.features:
                near = nearest(feature, self.features)
                raise DataError(
                    f"{path}: no feature {feature}; it has {', '.join(self.features) or 'none'}",
                    "Correct target and patient in the config" + (f"; did you mean {near}?" if near else "."),
                )

    def _labels(self) -> Labels:
        """Classes by the file's names, which must be the config's, in the same order: an index means the same."""
        names = self.options.class_names
        if self.classes is None or self.options.task not in ("classification", "multilabel"):
            return Labels(self.options)
        if len(self.classes) != self.options.num_classes or (names and list(map(clean, self.classes)) != names):
            its = ", ".join(self.classes)
            raise DataError(
                f"{self.path}: its classes are {its}, but the config's {', '.join(self.options.names)}",
                f"Set num_classes: {len(self.classes)} and class_names: [{its}].",
            )
        return Labels(self.options, self.classes, indices=True)

    def _patient(self) -> str | None:
        """The feature that names the patient where the config names none."""
        maybe = [] if self.options.patient_regex else of_person(self.features)
        if not maybe or SUBJECT in maybe:
            return SUBJECT if maybe else None
        raise DataError(
            f"{self.path}: the feature {maybe[0]} seems to say whose image it is; the config ignores it",
            f"Set patient: {maybe[0]}; or rename the feature if it says something else.",
        )

    def _parts(self, split: object) -> dict[int, SplitName]:
        if not isinstance(split, Mapping) or not set(split) <= set(PARTS):
            raise self._wrong("split", split, f"lists of image numbers: {', '.join(PARTS)}")
        found: dict[int, SplitName] = {}
        for name, numbers in split.items():
            for number in numbers if isinstance(numbers, list) else [numbers]:
                if not str(number).isdecimal() or int(number) >= len(self.images):
                    raise self._wrong(f"split.{name}", number, f"numbers of images, 0 to {len(self.images) - 1}")
                if found.setdefault(int(number), PARTS[name]) != PARTS[name]:
                    raise DataError(f"{self.path}: image {number} is in two splits", "Remove it from one.")
        return found

    def record(self, k: int, prefix: PurePath, problems: list[str]) -> Record:
        """The record of image ``k``; what is wrong with it is added to ``problems``."""
        said, wrong = self.images[k], []
        location = said.get("location") if isinstance(said, Mapping) else None
        if not isinstance(location, str) or not location:
            problems.append(f"{self.path}: images[{k}] has no location")
            return Record("", "", (Path(),))
        image = self._place(location)
        if not exists(image):
            wrong.append(f"no such file: {image}")
        values = self._values(said, wrong)
        inner = [part for part in PurePath(location).parts[:-1] if part not in ("..", PurePath(location).anchor)]
        name = (prefix / PurePath(*inner, stem(image))).as_posix()
        if self.places.setdefault(name, k) != k:
            wrong.append(f"images[{self.places[name]}] has the same place")
        target, patient = self._target(said, values, wrong), self._who(name, values, wrong)
        problems += [f"{self.path}: images[{k}] ({location}): {each}" for each in wrong]
        return Record(name, patient, (image,), target, self.parts.get(k), values)

    def _place(self, location: str) -> Path:
        return self.path.parent / location

    def _values(self, said: Mapping[str, Any], wrong: list[str]) -> dict[str, str]:
        """What the features are for an image: the file has them by name, or as a list in the order of ``features``."""
        values = said.get("values") or {}
        if isinstance(values, list) and len(values) == len(self.features):
            values = dict(zip(self.features, values, strict=True))
        if not isinstance(values, Mapping):
            wrong.append(f"values: must be {len(self.features)} values, or values by feature")
            return {}
        return {str(key): "" if value in ("null", "~") else str(value) for key, value in values.items()}

    def _target(
        self, said: Mapping[str, Any], values: Mapping[str, str], wrong: list[str]
    ) -> Path | int | float | tuple[int, ...] | None:
        label = values.get(self.options.target, "") if self.options.target else said.get("label", "")
        text = "|".join(map(str, label)) if isinstance(label, list) else str(label)
        if self.options.task != "segmentation":
            try:
                return self.labels(text)
            except ValueError as error:
                wrong.append(f"label: {error}")
                return None
        mask = self._place(text)
        if is_missing(text) or not exists(mask):
            wrong.append(f"label: no such file: {mask}" if not is_missing(text) else "it has no label")
        return mask

    def _who(self, name: str, values: Mapping[str, str], wrong: list[str]) -> str:
        feature, pattern = self.patient, self.options.patient_regex
        said = name if feature is None else values.get(feature, "")
        patient = said if pattern is None else by_regex(pattern, said)
        if patient is None:
            wrong.append(f"patient_regex does not match {said!r}")
        elif feature is not None and is_missing(patient):
            wrong.append(f"{feature} is {said!r}")
        return patient or ""

    def _wrong(self, key: str, value: object, allowed: str) -> DataError:
        return DataError(f"{self.path}: {key} is {str(value)[:200]}; it must be {allowed}", "Correct the file.")


def _content(path: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        content = yaml.load(read_bytes(path).decode("utf-8-sig"), Loader=loader)
    except OSError as error:
        raise DataError(
            f"{path}: can't be read: {error.strerror}", "Correct root_path, img_folder or file in the config."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise DataError(f"{path}: is not YAML{line}", "Correct the file, and save it as UTF-8.") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: is not a data set of ECVL: it has no images", "Name another file in the config.")
    return content


def _list(path: Path, content: Mapping[str, Any], key: str) -> list[Any]:
    found = content.get(key)
    if not isinstance(found, list):
        raise DataError(f"{path}: {key} is not a list", "Correct the file: see DeepHealth's data set format.")
    return found
