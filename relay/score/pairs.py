"""Masks in two folders: what was asked of them, finding them in pairs, reading them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relay.data.files import listing
from relay.data.patients import by_regex
from relay.data.problems import refuse
from relay.data.read import read_mask, read_masks
from relay.data.sample import Pixels
from relay.errors import DataError, UserError
from relay.metrics.segmentation import TOLERANCE, check_spacing, check_tolerance


@dataclass(frozen=True)
class Asked:
    """How masks are to be scored.

    Attributes:
        classes: their names, background first. None: ``background, class 1, …``, as many as are in the truth.
        values: what stands for each class in the files, background first. None: 0, 1, ….
        tolerance: of ``nsd``, in mm where spacing is known, else in pixels.
        spacing: mm per pixel along each axis, for files that do not say; one number stands for all axes.
        patients: a regular expression that finds the patient in a file's stem: group 1, or the whole match. None: every
            sample is a patient.
        workers: processes that measure; 0: this one.
    """

    classes: Sequence[str] | None = None
    values: Sequence[int] | None = None
    tolerance: float = TOLERANCE
    spacing: Sequence[float] | None = None
    patients: str | None = None
    workers: int = 0

    def check(self) -> None:
        """Refuse what can't be meant, before anything is read.

        Raises:
            UserError: say so.
        """
        check_tolerance(self.tolerance)
        if self.spacing is not None:
            check_spacing(self.spacing, len(self.spacing))
        for what, given in (("--classes", self.classes), ("--values", self.values)):
            if given is not None and not 2 <= len(set(given)) == len(given) <= 255:
                raise UserError(f"{what} {','.join(map(str, given))}: 2 to 255 different ones are needed")
        if self.classes and self.values and len(self.classes) != len(self.values):
            raise UserError(f"--classes names {len(self.classes)} classes, --values {len(self.values)}")
        if self.values and not all(0 <= value <= 65535 for value in self.values):
            raise UserError("--values must be in 0..65535")


@dataclass
class Pair:
    """One sample in two files, not read yet."""

    name: str
    pred: Path
    truth: Path
    patient: str = ""

    def read(self, levels: Sequence[int], asked: Asked) -> tuple[Pixels, Pixels, Sequence[float] | None]:
        """Prediction, truth and spacing.

        Raises:
            DataError: something is wrong with one of them, or they do not fit.
        """
        pred, truth, own = read_masks(self.pred, self.truth, levels, levels)
        if pred.shape != truth.shape:
            raise DataError(f"{self.pred}: size {_x(pred.shape)}, truth {_x(truth.shape)}")
        given = asked.spacing
        if given is not None:
            given = tuple(given) * (truth.ndim if len(given) == 1 else 1)
            check_spacing(given, truth.ndim)
        if own and given and not np.allclose(own, given, rtol=1e-4):
            raise DataError(f"{self.truth}: its spacing is {_x(own)} mm, --spacing says {_x(given)}")
        return pred, truth, own or given


def pairs_of(predictions: Path, truth: Path, asked: Asked) -> tuple[list[Pair], list[str]]:
    """The pairs of two folders, by stem; and what stands alone or belongs to nobody.

    Raises:
        UserError: a folder is not there, or both are empty.
    """
    for folder in (predictions, truth):
        if not folder.is_dir():
            raise UserError(f"folder not found: {folder}", "Name two folders: of predicted masks, and of true ones.")
    left, right = listing(predictions), listing(truth)
    if not left and not right:
        raise UserError(f"no masks in {predictions}, nor in {truth}", "Name two folders of PNG, NIfTI or other images.")
    problems = [f"no truth for {left[name]} in {truth}" for name in left.keys() - right.keys()]
    problems += [f"no prediction for {right[name]} in {predictions}" for name in right.keys() - left.keys()]
    pairs = [Pair(name, path, right[name], name) for name, path in left.items() if name in right]
    for pair in pairs if asked.patients is not None else []:
        patient = by_regex(asked.patients or "", pair.name)
        pair.patient = patient or ""
        if not patient:
            problems.append(f"--patients '{asked.patients}' finds no patient in {pair.name}")
    return pairs, sorted(problems)


def levels_of(pairs: Sequence[Pair], asked: Asked, problems: Sequence[str]) -> Sequence[int]:
    """What stands for each class: as asked, or what is in the truth.

    Args:
        problems: found before; they are told together with what is found here.

    Raises:
        DataError: the values of the truth are not 0, 1, ….
    """
    if asked.values is not None:
        return asked.values
    if asked.classes is not None:
        return range(len(asked.classes))
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


def _x(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
