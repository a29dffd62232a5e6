"""Masks in two folders: what was asked of them, finding them in pairs, reading them."""

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
    """How masks are to be scored.

    Attributes:
        classes: their names, background first. None: ``background, class 1, …``, as many as are in the truth.
        values: what stands for each class in the files, background first. None: 0, 1, ….
        prediction_values: the same for the predictions alone, where that is not clear: :func:`prediction_mask_values`.
        tolerance: of ``nsd``, in mm where spacing is known, else in pixels.
        spacing: mm per pixel along each axis, for files that do not say; one number stands for all axes.
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
        """Refuse what can't be meant, before anything is read.

        Raises:
            UserError: say so.
        """
        check_tolerance(self.tolerance)
        metrics(self.metrics)
        if self.spacing is not None:
            check_spacing(self.spacing, len(self.spacing))
        named = {"--classes": self.classes, "--values": self.values, "--prediction-values": self.prediction_values}
        for what, given in named.items():
            if given is not None and not 2 <= len(set(given)) == len(given) <= 255:
                raise UserError(f"{what} {','.join(map(str, given))}: 2 to 255 different ones are needed")
        (first, many), *others = [(what, len(given)) for what, given in named.items() if given] or [("", 0)]
        for what, count in others:
            if count != many:
                raise UserError(f"{first} names {many} classes, {what} {count}")
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
            mask_values: what stands for each class in the truth; ``predicted``: in the prediction.

        Raises:
            DataError: something is wrong with one of them, or they do not fit.
        """
        pred, truth, own = read_masks(self.pred, self.truth, predicted, mask_values)
        if pred.shape != truth.shape:
            raise DataError(f"{self.pred}: size {_x(pred.shape)}, truth {_x(truth.shape)}")
        given = asked.spacing
        if given is not None:
            given = tuple(given) * (truth.ndim if len(given) == 1 else 1)
            check_spacing(given, truth.ndim)
        if own and given and not np.allclose(own, given, rtol=1e-4):
            raise DataError(f"{self.truth}: its spacing is {_x(own)} mm, --spacing says {_x(given)}")
        return pred, truth, own or given


@dataclass
class Found:
    """What two folders hold together.

    Attributes:
        pairs: predictions with their truths.
        missing: truths without a prediction, by name: not scored, and said.
        problems: predictions without a truth, and what else stands in the way.
    """

    pairs: list[Pair]
    missing: list[str]
    problems: list[str]


def pairs_of(predictions: Path, truth: Path, asked: Asked) -> Found:
    """The masks of two folders, and of those in them, in pairs: of the same path below the folder but for the ending;
    else of the same name, wherever they lie.

    Raises:
        UserError: a folder is not there, both are empty, or nothing fits together.
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
            problems.append(f"which truth {path} has is not clear: {', '.join(str(right[fit]) for fit in fits[:3])}")
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
    """Path below the folder without the ending → file; also of the folders in it, but for hidden ones.

    DICOM series are looked for once, from the top: each look goes all the way down.
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
    unclear = next((problem for problem in problems if problem.startswith("which truth")), None)
    shown = [f"{folder} has {next(iter(masks), 'none')}" for folder, masks in ((predictions, left), (truth, right))]
    raise UserError(
        unclear or f"no prediction has a truth of its name: {'; '.join(shown)}",
        "Predictions and truths go together by name, before the ending. Name the folder that holds the true masks.",
    )


def mask_values_of(pairs: Sequence[Pair], asked: Asked, problems: Sequence[str]) -> Sequence[int]:
    """What stands for each class: as asked, or what is in the truth.

    Args:
        problems: found before; they are told together with what is found here.

    Raises:
        DataError: the values of the truth are not 0, 1, ….
    """
    if asked.values is not None:
        return asked.values
    if given := asked.classes or asked.prediction_values:
        return range(len(given))
    seen = {0, 1}
    for pair in pairs:
        with suppress(DataError):  # it is read again, and then told
            seen.update(np.unique(read_mask(pair.truth)).tolist())
    if sorted(seen) != list(range(len(seen))):
        shown = ", ".join(map(str, sorted(seen)[:8])) + (", …" if len(seen) > 8 else "")
        refuse(
            [*problems, f"the values of the truth, {shown}, do not tell the classes"],
            f"{pairs[0].truth.parent}: masks of unknown classes",
            "Name them (--classes background,disc,cup), and say what stands for each if not 0, 1, … (--values 0,255).",
        )
    return range(len(seen))


def prediction_mask_values(pairs: Sequence[Pair], mask_values: Sequence[int], asked: Asked) -> Sequence[int]:
    """What stands for each class in the predictions: as asked, else the truth's values or, where they hold only these,
    the class indices 0, 1, … that this toolkit writes.

    Raises:
        UserError: it could be either, and that would not be the same.
    """
    plain = range(len(mask_values))
    if asked.prediction_values is not None:
        return asked.prediction_values
    if list(mask_values) == list(plain):
        return mask_values
    seen: set[int] = set()
    for pair in pairs:
        with suppress(DataError):  # it is read again, and then told
            seen.update(np.unique(read_mask(pair.pred)).tolist())
    if seen - set(plain):
        return mask_values  # what is in neither is told where it is read
    if seen - set(mask_values):
        return plain
    if any(mask_values.index(value) != value for value in seen):
        raise UserError(
            f"the predictions hold {', '.join(map(str, sorted(seen)))}: class indices, or values as in the truth?",
            f"Say it: --prediction-values {','.join(map(str, plain))} or {','.join(map(str, mask_values))}.",
        )
    return mask_values


def _x(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
