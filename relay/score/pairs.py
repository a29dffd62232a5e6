"""Masks in two folders: the scoring options, finding pairs, and reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from relay.data import Pixels, by_regex, listing, read_mask, read_masks, refuse
from relay.errors import DataError, UserError
from relay.metrics import TOLERANCE, check_spacing, check_tolerance, metrics


@dataclass(frozen=True)
class Asked:
    """How to score masks.

    Attributes:
        classes: their names, background first. None for ``background, class 1, …``, with as many as the truth has.
        values: the value of each class in the files, background first. None for 0, 1, ….
        prediction_values: the same, only for the predictions, if ambiguous: :func:`prediction_mask_values`.
        tolerance: of ``nsd``, in mm if the spacing is known, else in pixels.
        spacing: mm per pixel along each axis, for files that don't give it; one number applies to all axes.
        patients: a regular expression that finds the patient in a file's stem: group 1, or the whole match. None: every
            sample is a patient.
        workers: processes that measure; 0: this one.
        metrics: beside the installed ones, each ``module:Class``.
    """

    classes: Sequence[str] | None = None
    values: Sequence[int] | None = None
    prediction_values: Sequence[int] | None = None
    tolerance: float = TOLERANCE
    spacing: Sequence[float] | None = None
    patients: str | None = None
    workers: int = 0
    metrics: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the options before anything is read.

        Raises:
            UserError: they are inconsistent.
        """
        check_tolerance(self.tolerance)
        metrics(self.metrics)
        if self.spacing is not None:
            check_spacing(self.spacing, len(self.spacing))
        named = {"--classes": self.classes, "--values": self.values, "--prediction-values": self.prediction_values}
        for what, given in named.items():
            if given is not None and not 2 <= len(set(given)) == len(given) <= 255:
                raise UserError(f"{what} {','.join(map(str, given))}: must be 2 to 255 different values")
        (first, many), *others = [(what, len(given)) for what, given in named.items() if given] or [("", 0)]
        for what, count in others:
            if count != many:
                raise UserError(f"{first} names {many} classes, but {what} {count}")
        for what in ("--values", "--prediction-values"):
            if not all(0 <= int(value) <= 65535 for value in named[what] or ()):
                raise UserError(f"{what} must be in 0..65535")


@dataclass
class Pair:
    """One sample in two files, not read yet."""

    name: str
    pred: Path
    truth: Path
    patient: str = ""

    def read(
        self, mask_values: Sequence[int], predicted: Sequence[int], asked: Asked
    ) -> tuple[Pixels, Pixels, Sequence[float] | None]:
        """Prediction, truth and spacing.

        Args:
            mask_values: the value of each class in the truth; ``predicted``: in the prediction.

        Raises:
            DataError: something is wrong with one of them, or they don't match.
        """
        pred, truth, own = read_masks(self.pred, self.truth, predicted, mask_values)
        if pred.shape != truth.shape:
            raise DataError(f"{self.pred}: size {_x(pred.shape)}, truth {_x(truth.shape)}")
        given = asked.spacing
        if given is not None:
            given = tuple(given) * (truth.ndim if len(given) == 1 else 1)
            check_spacing(given, truth.ndim)
        if own and given and not np.allclose(own, given, rtol=1e-4):
            raise DataError(f"{self.truth}: its spacing is {_x(own)} mm, but --spacing says {_x(given)}")
        return pred, truth, own or given


@dataclass
class Found:
    """The pairs in two folders.

    Attributes:
        pairs: predictions with their truths.
        missing: names of truths without a prediction: not scored, but reported.
        problems: predictions without a truth, and other problems.
    """

    pairs: list[Pair]
    missing: list[str]
    problems: list[str]


def pairs_of(predictions: Path, truth: Path, asked: Asked) -> Found:
    """Pair the masks in two folders and their subfolders: by the same relative path without the extension, else
    by the same name anywhere.

    Raises:
        UserError: a folder is missing, both are empty, or there is no pair.
    """
    for folder in (predictions, truth):
        if not folder.is_dir():
            raise UserError(f"folder not found: {folder}", "Name two folders: of predicted masks, and of true ones.")
    left, right = _masks_in(predictions), _masks_in(truth)
    if not left and not right:
        raise UserError(f"no masks in {predictions}, nor in {truth}", "Name two folders of PNG, NIfTI or other images.")
    pairs, problems = [], []
    by_name = _by_name(right)
    twice = {name for name, found in _by_name(left).items() if len(found) > 1}
    for key, path in left.items():
        name = PurePath(key).name
        fits = [key] if key in right else by_name.get(name, [])
        if len(fits) == 1 and (key in right or name not in twice):
            pairs.append(Pair(key if key in right else name, path, right[fits[0]]))
        elif fits:
            problems.append(f"several truths match {path}: {', '.join(str(right[fit]) for fit in fits[:3])}")
        else:
            problems.append(f"no truth for {path} in {truth}")
    if not pairs:
        _nothing_fits(predictions, left, truth, right, problems)
    there = {pair.truth for pair in pairs}
    missing = sorted(key for key, path in right.items() if path not in there)
    if problems:  # names may be spelt differently
        problems += [f"no prediction for {right[key]} in {predictions}" for key in missing]
    for pair in pairs:
        patient = pair.name if asked.patients is None else by_regex(asked.patients, PurePath(pair.name).name)
        pair.patient = patient or ""
        if not patient:
            problems.append(f"--patients '{asked.patients}' finds no patient in {pair.name}")
    return Found(pairs, missing, sorted(problems))


def _masks_in(folder: Path) -> dict[str, Path]:
    """Relative path without the extension → file, including subfolders except hidden ones.

    DICOM series are searched for only once, from the top: each search covers all levels.
    """
    below = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_dir())
    places = [Path(), *(place for place in below if not any(part.startswith(".") for part in place.parts))]
    found = ((place, listing(folder / place, below=place == Path())) for place in places)
    return {(place / name).as_posix(): path for place, masks in found for name, path in masks.items()}


def _by_name(masks: Mapping[str, Path]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in masks:
        found.setdefault(PurePath(key).name, []).append(key)
    return found


def _nothing_fits(
    predictions: Path,
    left: Mapping[str, Path],
    truth: Path,
    right: Mapping[str, Path],
    problems: Sequence[str],
) -> None:
    unclear = next((problem for problem in problems if problem.startswith("several truths")), None)
    shown = [f"{folder} has {next(iter(masks), 'none')}" for folder, masks in ((predictions, left), (truth, right))]
    raise UserError(
        unclear or f"no prediction has a truth with its name: {'; '.join(shown)}",
        "Predictions and truths are paired by name, ignoring the extension. Name the folder with the true masks.",
    )


def mask_values_of(pairs: Sequence[Pair], asked: Asked, problems: Sequence[str]) -> Sequence[int]:
    """The value of each class: from the options, else from the truth.

    Args:
        problems: found earlier; reported together with those found here.

    Raises:
        DataError: the values of the truth are not 0, 1, ….
    """
    if asked.values is not None:
        return asked.values
    if given := asked.classes or asked.prediction_values:
        return range(len(given))
    seen = {0, 1}
    for pair in pairs:
        with suppress(DataError):  # it is read again and reported then
            seen.update(np.unique(read_mask(pair.truth)).tolist())
    if sorted(seen) != list(range(len(seen))):
        shown = ", ".join(map(str, sorted(seen)[:8])) + (", …" if len(seen) > 8 else "")
        refuse(
            [*problems, f"the values of the truth, {shown}, don't identify the classes"],
            f"{pairs[0].truth.parent}: masks of unknown classes",
            "Name them (--classes background,disc,cup), and give their values if not 0, 1, … (--values 0,255).",
        )
    return range(len(seen))


def prediction_mask_values(pairs: Sequence[Pair], mask_values: Sequence[int], asked: Asked) -> Sequence[int]:
    """The value of each class in the predictions: from the options, else the truth's values or, if they contain only
    these, the class indices 0, 1, … that this toolkit writes.

    Raises:
        UserError: it could be either, with different results.
    """
    plain = range(len(mask_values))
    if asked.prediction_values is not None:
        return asked.prediction_values
    if list(mask_values) == list(plain):
        return mask_values
    seen: set[int] = set()
    for pair in pairs:
        with suppress(DataError):  # it is read again and reported then
            seen.update(np.unique(read_mask(pair.pred)).tolist())
    if seen - set(plain):
        return mask_values  # other values are reported on reading
    if seen - set(mask_values):
        return plain
    if any(mask_values.index(value) != value for value in seen):
        raise UserError(
            f"the predictions contain {', '.join(map(str, sorted(seen)))}: class indices, or values as in the truth",
            f"Choose: --prediction-values {','.join(map(str, plain))} or {','.join(map(str, mask_values))}.",
        )
    return mask_values


def _x(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
