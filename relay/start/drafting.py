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
from relay.data import Dataset, DatasetOptions, Record, prepare
from relay.errors import DataError, UserError
from relay.start import rules
from relay.start.fingerprint import Fingerprint, fingerprint
from relay.start.rules import Choice
from relay.start.sources import Source
from relay.tasks import task_of

MASKED = ("folder", "table", "dicom")
"""Data sets with the option mask_values."""
WORDED = {"classes": "class_dirs", "table": "label_values", "dicom": "label_values"}
"""The option of a data set for how its source writes the classes."""
WIDTH = 110
SEED = 1


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
        if len(kwargs.get("label_values", class_names)) != len(class_names):
            del kwargs["label_values"]  # classes by their index, of which some do not occur here
    if kwargs["task"] == "classification" and len(kwargs["class_names"]) < 2:
        raise DataError(
            f"all images have the same class: {kwargs['class_names'][0]}",
            "Add images of another class, or name another column: --target.",
        )
    found = look(source.dataset, kwargs, site)
    _classes(kwargs, source, found)
    plain = list(found.values) == list(range(kwargs.get("num_classes", 0)))
    if kwargs["task"] == "segmentation" and source.dataset in MASKED and not plain:
        kwargs["mask_values"] = list(found.values)
    kwargs["channels"] = found.channels
    return Draft(_text(source, kwargs, site, found, memory), found, _notes(source, found, kwargs))


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
    key = WORDED.get(name)
    odd = not all(re.fullmatch(WORDS, word) for word in guess.get("class_names", ()))
    if key is not None and key not in guess and odd and kwargs["task"] in ("classification", "multilabel"):
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
    kwargs["class_names"] = folded(written)
    key = WORDED.get(source.dataset)
    if key is not None and kwargs["task"] in ("classification", "multilabel"):
        kwargs.setdefault(key, written)


def folded(written: Sequence[str]) -> list[str]:
    """Names without accents; ``class 0``, … if that leaves some that are not plain or the same."""
    names = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in written]
    plain = all(re.fullmatch(WORDS, name) for name in names) and len(set(names)) == len(names)
    return names if plain else [f"class {k}" for k in range(len(written))]


def _notes(source: Source, found: Fingerprint, kwargs: Mapping[str, Any]) -> list[str]:
    notes = [
        note
        for note in (
            source.assumed if source.doubtful else None,
            rules.anisotropy(found),
            f"only {counted(found).partition(' of ')[2]}: too few to train and to test well"
            if found.patients < 10
            else None,
            "some images are grey, others in colour: all are read as colour; check that this is not how classes differ"
            if found.mixed
            else None,
            f"{found.read} of {found.images} images were read; relay data check reads all"
            if found.read < found.images
            else None,
            _every_image(kwargs)
            if found.patients == found.images > 1
            and not ({"patient_regex", "patient_column"} & kwargs.keys() or source.dataset == "dicom")
            else None,
        )
        if note
    ]
    if kwargs["task"] == "classification" and found.labels:
        most, least = max(found.labels.values()), min(found.labels.values())
        if most > 5 * least:
            notes.append(f"the largest class has {most} images, the smallest {least}")
    return notes


def _every_image(kwargs: Mapping[str, Any]) -> str:
    cure = "set patient_column or patient_regex" if "table" in kwargs else "set patient_regex"
    folders = ", such as '^([^/]+)/' if each has a folder" if kwargs.get("nested") else ""
    return f"every image counts as a patient: if a patient has several, {cure}{folders}"


# -- writing ---------------------------------------------------------------------------------------------------------


def _text(source: Source, kwargs: dict[str, Any], site: str, found: Fingerprint, memory: int) -> str:
    options = made(source.dataset, {**kwargs, "task_id": 1, "task_name": site}).options
    task = task_of(options)
    chosen = rules.sizes(found, task.dense, memory)
    batch = chosen.pop("batch_size")
    front = rules.foreground(found) if task.dense else None
    scale = _scale(source.dataset, options) if options.task == "regression" else None
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
        f"  random_seed: {SEED}  # decides the split by patient and everything random",
        "  dataset:",
        f"    name: {source.dataset}",
        "    kwargs:",
        "      root_path: ${paths.data}",
        *_comment(source.assumed, 6),
        *_values(known, 6),
        *_values(rest, 6),
        *(line for key, choice in chosen.items() for line in _chosen(key, choice, 6)),
        *(_chosen("foreground", front, 6) if front else ()),
        *(_chosen("target_scale", scale, 6) if scale else ()),
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


def _scale(name: str, options: DatasetOptions) -> Choice | None:
    """Mean and standard deviation of the numbers of the patients who will be trained on; None if all are the same."""
    dataset: Dataset = registry.find("datasets", name)(options)
    trained = prepare(dataset, SEED, splits=()).split.train
    return rules.target_scale([float(dataset.options.does.target(record)) for record in trained])


def _head(found: Fingerprint) -> str:
    spacing = ""
    if found.spacing:
        spacing = " and spacing " + " × ".join(f"{mm:.3g}" for mm in found.spacing) + " mm"
    size = "×".join(map(str, found.shape))
    return (
        f"Written by relay init from {counted(found)}: {found.axes}D, {found.kind}, "
        f"{found.channels} channel{'s' if found.channels > 1 else ''}, median size {size}{spacing}. The choices below "
        "are a start; docs/explanation/first-config.md gives the rules. The same plan must run at every site: change "
        "it before the first leg, not after."
    )


def counted(found: Fingerprint) -> str:
    """``3 images of 1 patient``."""
    told = ((found.images, "image"), (found.patients, "patient"))
    return " of ".join(f"{many} {what}" if many == 1 else f"{many} {what}s" for many, what in told)


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
