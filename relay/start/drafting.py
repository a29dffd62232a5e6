"""A complete, commented config from a source of images."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay import registry
from relay.config import WORDS, check, dump
from relay.data import Dataset, Record, Series, Sheet, is_missing, read_sheet
from relay.errors import DataError, UserError
from relay.start import rules
from relay.start.finding import IMAGES, MASKS, find_dicom, find_images, layout_of, named_in
from relay.start.fingerprint import Fingerprint, fingerprint
from relay.start.rules import Choice
from relay.tasks import task_of

MOST_CLASSES = 50
"""With more different words than this, or with a number above it, such as an age, a column holds no classes."""
WIDTH = 110
DICOM = ("modality", "description_regex", "mask_name", "label_table")
"""Options that only the data set ``dicom`` has."""
KEYS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
"""Columns that say whose target a row of its table has, the most precise first."""
WRITTEN = {"classes": "class_dirs", "table": "label_values", "dicom": "label_values"}
"""The option for names of classes that other sites can't read, data set by data set."""


@dataclass(frozen=True)
class Source:
    """Where the images are, and what is known about them before they are read.

    Attributes:
        dataset: Its name in a config.
        kwargs: Its options, as far as known.
        examples: Some names of images, for the question about patients.
    """

    dataset: str
    kwargs: dict[str, Any]
    examples: Sequence[str]


def source_of(path: Path, task: str | None = None, columns: Mapping[str, Any] | None = None) -> Source:
    """Recognise a folder (images and masks, a folder for each class, nnU-Net, DICOM) or a table.

    Args:
        task: The task; None to tell it from the data.
        columns: Of a table, the options of the data set ``table`` that name its columns; of DICOM, of ``dicom``.

    Raises:
        UserError: it is none of these; the advice says what to do.
    """
    given = dict(columns or {})
    series = find_dicom(path) if path.is_dir() else []
    if series:
        return _dicom(path, task, given, series)
    if wrong := [key for key in DICOM if key in given]:
        raise UserError(f"{path} is no folder of DICOM series: {wrong[0]} is for those", "Leave it out.")
    if path.is_file():
        return _table(path, task, given)
    layout = layout_of(path) if path.is_dir() else None
    _, found = find_images(path)
    names = [each.name for each in found[:3]]
    given = {"root_path": str(path)}
    if layout == "nnunet":
        return Source("nnunet", given, names)
    if layout == "classes":
        kinds = sorted({str(each.target) for each in found})
        return Source("classes", {**given, "task": "classification", "class_names": kinds}, names)
    if layout == "pairs":
        inner = {"image_dir": named_in(path, IMAGES), "mask_dir": named_in(path, MASKS)}
        nested = {"nested": True} if any("/" in each.name for each in found) else {}
        return Source("folder", {**given, "task": "segmentation", **inner, **nested}, names)
    raise UserError(
        f"{path}: images, but no masks, classes or table",
        "Put masks beside the images (image/ and mask/), or images of each class into a folder of its own; or list "
        f"them: relay data table {path} -o {path / 'table.csv'}, add the column ValueToPredict, and give the table.",
    )


def _table(path: Path, task: str | None, columns: dict[str, Any]) -> Source:
    sheet = read_sheet(path)
    target = columns.get("target_column") or ("ValueToPredict" if "ValueToPredict" in sheet.header else "Label")
    examples = [next(iter(row.cells.values())) for row in sheet.rows[:3]]
    found = _targets(sheet, target, task)
    given = {"root_path": str(path.parent), "table": path.name, **columns, "target_column": target, **found}
    return Source("table", given, examples)


def _targets(sheet: Sheet, target: str, task: str | None) -> dict[str, Any]:
    """``task`` and ``class_names``, by what a column of targets has."""
    sheet.need([target], "Name the column of what is to be predicted: --target")
    kinds = sorted({row[target] for row in sheet.rows if not is_missing(row[target])})
    if not kinds:
        raise DataError(
            f"{sheet.path}: no row has a value in the column {target}", "Fill it in, or name another: --target."
        )
    task = task or _task_of_column(sheet, target, kinds)
    if task == "classification" and not all(kind.isdecimal() for kind in kinds):
        return {"task": task, "class_names": kinds}
    if task == "classification":
        return {"task": task, "class_names": [f"class {k}" for k in range(max(map(int, kinds)) + 1)]}
    if task == "multilabel":
        return {"task": task, "class_names": sorted({word.strip() for kind in kinds for word in kind.split("|")})}
    return {"task": task}


def _dicom(path: Path, task: str | None, given: dict[str, Any], series: Sequence[Series]) -> Source:
    """Series with masks in DICOM-SEG, masks by a rule for their names, or a table of targets."""
    modalities = sorted({one.modality for one in series if one.scan})
    if "modality" not in given and len(modalities) > 1:
        raise UserError(
            f"{path} has series of several modalities: {', '.join(modalities)}",
            f"A study has one kind of image. Choose one: --modality {modalities[0]}",
        )
    kwargs = {"root_path": str(path), "modality": modalities[0] if modalities else None}
    kwargs |= {"patient": given.get("patient_column", "PatientID")}
    kwargs |= {key: given[key] for key in DICOM if key in given}
    if "label_table" in given:
        return Source("dicom", {**kwargs, **_labelled(path, task, given)}, ())
    if "mask_name" not in given and not any(one.segments for one in series):
        raise UserError(
            f"{path}: DICOM series, but no masks and no table of targets",
            "Put masks as DICOM-SEG into the folder; or say how files of masks are called: "
            "--masks '{folder}/mask.nii.gz'; or give a table with a class or number for each patient, study or "
            "series: --labels labels.csv",
        )
    return Source("dicom", {**kwargs, "task": "segmentation"}, ())


def _labelled(path: Path, task: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``dicom`` for a table of targets."""
    sheet = read_sheet(path / given["label_table"], KEYS, "Name a table that exists, seen from the folder: --labels.")
    key = next((key for key in KEYS if key in sheet.header), None)
    if key is None:
        raise DataError(
            f"{sheet.path}: no column says whose target a row has; it has {', '.join(sheet.header) or 'none'}",
            f"Name that column as DICOM does: {', '.join(KEYS)}.",
        )
    column = given.get("target_column", "Label")
    return {"label_key": key, "label_column": column, **_targets(sheet, column, task)}


def _task_of_column(sheet: Sheet, target: str, kinds: Sequence[str]) -> str:
    first = sheet.path.parent / kinds[0]
    if "." in first.name and first.exists():
        return "segmentation"
    numbers = [kind for kind in kinds if _number(kind)]
    if len(kinds) > MOST_CLASSES or any("." in text or float(text) > MOST_CLASSES for text in numbers):
        return "regression"
    return "classification"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Draft:
    """A config, as text, with what people should know about it."""

    text: str
    found: Fingerprint
    notes: Sequence[str]


def draft(source: Source, site: str, memory: int, class_names: Sequence[str] | None = None) -> Draft:
    """Read the images, and write a config for them.

    Args:
        site: The site's name.
        memory: Bytes that training may take.
        class_names: The names of the classes; None for those that the source gives.

    Raises:
        UserError: the images can't be read, or don't fit together.
    """
    kwargs = {"task": "segmentation", **source.kwargs}
    if class_names:
        kwargs["class_names"] = list(class_names)
    found = look(source.dataset, kwargs, site)
    _classes(kwargs, source, found)
    plain = list(found.values) == list(range(kwargs.get("num_classes", 0)))
    if kwargs["task"] == "segmentation" and source.dataset in ("folder", "table", "dicom") and not plain:
        kwargs["mask_values"] = list(found.values)
    kwargs["channels"] = found.channels
    return Draft(_text(source, kwargs, site, found, memory), found, _notes(found, kwargs))


def look(name: str, kwargs: Mapping[str, Any], site: str) -> Fingerprint:
    """The fingerprint of a data set of which not everything is known yet.

    Raises:
        UserError: its images can't be found or read, or don't fit together.
    """
    return fingerprint(_records(name, kwargs, site))


def _records(name: str, kwargs: Mapping[str, Any], site: str) -> list[Record]:
    if name == "nnunet":
        about = registry.find("datasets", name).about_of(Path(kwargs["root_path"]))
        kwargs = {**kwargs, "num_classes": len(about.labels), "channels": len(about.channels)}
    many = len(kwargs.get("class_names", ())) or 2
    guess = {**kwargs, "task_id": 1, "task_name": site, "num_classes": many}
    key = WRITTEN.get(name)
    odd = not all(re.fullmatch(WORDS, word) for word in guess.get("class_names", ()))
    if key is not None and odd and kwargs["task"] in ("classification", "multilabel"):
        guess[key] = guess.pop("class_names")
    if kwargs["task"] == "regression":
        guess["num_classes"] = None
    elif kwargs["task"] == "segmentation" and name != "nnunet":
        guess.pop("class_names", None)
        guess["num_classes"] = 255
    if name == "nnunet":
        guess["num_classes"] = kwargs["num_classes"]
    return list(made(name, guess).listing)


def made(name: str, kwargs: Mapping[str, Any]) -> Dataset:
    """A data set from its options.

    Raises:
        UserError: an option is wrong.
    """
    cls = registry.find("datasets", name)
    options, problems = check(cls.Options, dict(kwargs))
    if options is None:
        raise UserError("; ".join(map(str, problems)))
    dataset: Dataset = cls(options)
    return dataset


def _classes(kwargs: dict[str, Any], source: Source, found: Fingerprint) -> None:
    """``num_classes`` and ``class_names``, from the masks or the labels."""
    task = kwargs["task"]
    if task == "regression":
        kwargs.pop("class_names", None)
        return
    if source.dataset == "nnunet":
        about = registry.find("datasets", "nnunet").about_of(Path(kwargs["root_path"]))
        kwargs.setdefault("class_names", list(about.labels))
    elif task == "segmentation" and "class_names" not in kwargs:
        many = max(2, len(found.values))
        kwargs["class_names"] = ["background", *(f"class {k}" for k in range(1, many))]
    _plain_names(kwargs, source)
    kwargs["num_classes"] = len(kwargs["class_names"])
    if task == "segmentation" and len(found.values) > kwargs["num_classes"]:
        values = ", ".join(map(str, found.values))
        raise DataError(
            f"the masks have the values {values}, but there are {kwargs['num_classes']} class names",
            "Give a name for each value, background first: --classes",
        )


def _plain_names(kwargs: dict[str, Any], source: Source) -> None:
    """Names that other sites may read; what the source writes instead stays in an option of its own."""
    written = list(kwargs["class_names"])
    if all(re.fullmatch(WORDS, name) for name in written):
        return
    folded = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in written]
    plain = all(re.fullmatch(WORDS, name) for name in folded) and len(set(folded)) == len(folded)
    kwargs["class_names"] = folded if plain else [f"class {k}" for k in range(len(written))]
    key = WRITTEN.get(source.dataset)
    if key is not None and kwargs["task"] in ("classification", "multilabel"):
        kwargs[key] = written


def _notes(found: Fingerprint, kwargs: Mapping[str, Any]) -> list[str]:
    notes = [
        note
        for note in (
            rules.anisotropy(found),
            f"only {found.patients} patients: too few to train and to test well" if found.patients < 10 else None,
            f"{found.read} of {found.images} images were read; relay data check reads all"
            if found.read < found.images
            else None,
            "every image counts as a patient: if a patient has several, set patient_regex"
            if found.patients == found.images > 1 and not {"patient_regex", "patient_column", "patient"} & kwargs.keys()
            else None,
        )
        if note
    ]
    if kwargs["task"] == "classification" and found.labels:
        most, least = max(found.labels.values()), min(found.labels.values())
        if most > 5 * least:
            notes.append(f"the largest class has {most} images, the smallest {least}")
    return notes


# -- writing ---------------------------------------------------------------------------------------------------------


def _text(source: Source, kwargs: dict[str, Any], site: str, found: Fingerprint, memory: int) -> str:
    options = made(source.dataset, {**kwargs, "task_id": 1, "task_name": site}).options
    task = task_of(options)
    chosen = rules.sizes(found, task.dense, memory)
    batch = chosen.pop("batch_size")
    front = rules.foreground(found) if task.dense else None
    repeats = rules.repeats(found, batch.value)
    order = ("task", "root_path", "num_classes", "class_names", "channels")
    known = {key: kwargs[key] for key in order if key in kwargs and key != "root_path"}
    rest = {key: value for key, value in kwargs.items() if key not in order}
    lines = [
        *_comment(_head(found), 0),
        "paths:",
        f"  data: {_yaml(kwargs['root_path'])}",
        "",
        "common:",
        "  random_seed: 1  # decides the split by patient and everything random",
        "  dataset:",
        f"    name: {source.dataset}",
        "    kwargs:",
        "      root_path: ${paths.data}",
        *_values(known, 6),
        *_values(rest, 6),
        *(line for key, choice in chosen.items() for line in _chosen(key, choice, 6)),
        *(_chosen("foreground", front, 6) if front else ()),
        *_chosen("repeats", repeats, 6),
        "      augment: {train: light}  # mirrors, small changes of brightness; see relay list augmentations",
        "      val_fraction: 0.2  # shares of the patients",
        "      test_fraction: 0.2",
        "  strategy: {name: relay}  # what a leg does; compare others with relay compare",
        *_chosen("model", rules.net_of(found, task.dense), 2),
        "  train:",
        f"    num_epochs: {rules.EPOCHS}  # a start: watch the validation curve in the report",
        *_chosen("batch_size", batch, 4),
        f"    loss: {{name: {task.loss}}}  # the default for {task.name}",
        "    optimizer: {name: AdamW, kwargs: {lr: 0.001}}",
        "    scheduler: {name: cosine}  # to zero at the end of each leg",
        "    gradient_clip: 1.0  # no single batch moves the model far",
        "    check_val_every_n_epoch: 5",
        "",
        "all_tasks_datasets:  # add a line for each further site, with its folder or other options",
        f"  - kwargs: {{task_id: 1, task_name: {_yaml(site)}}}",
        "",
        "current_tasks:",
        "  task_ids: [1]  # the order of the sites",
    ]
    return "\n".join(lines) + "\n"


def _head(found: Fingerprint) -> str:
    spacing = ""
    if found.spacing:
        spacing = " and spacing " + " × ".join(f"{mm:.3g}" for mm in found.spacing) + " mm"
    size = "×".join(map(str, found.shape))
    return (
        f"Written by relay init from {found.images} images of {found.patients} patients: {found.axes}D, {found.kind}, "
        f"{found.channels} channel{'s' if found.channels > 1 else ''}, median size {size}{spacing}. The choices below "
        "are a start; docs/explanation/first-config.md gives the rules. The same plan must run at every site: change "
        "it before the first leg, not after."
    )


def _comment(text: str, indent: int) -> list[str]:
    return [f"{' ' * indent}# {line}" for line in textwrap.wrap(text, WIDTH - indent, break_long_words=False)]


def _chosen(key: str, choice: Choice, indent: int) -> list[str]:
    return [*_comment(choice.why, indent), *_values({key: choice.value}, indent)]


def _values(values: Mapping[str, Any], indent: int) -> list[str]:
    return [f"{' ' * indent}{key}: {_yaml(value)}" for key, value in values.items()]


def _yaml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return dump(value).partition("\n")[0]


def _quoted(text: str) -> str:
    """Text as YAML, in quotes where a list or a mapping on one line needs them."""
    plain = dump({"x": text}).removeprefix("x:").strip()
    if "\n" in plain:  # long texts would be folded
        return json.dumps(text, ensure_ascii=False)
    if plain[:1] in "'\"" or not set(text) & set(",[]{}#:"):
        return plain
    return "'" + text.replace("'", "''") + "'"
