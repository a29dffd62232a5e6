"""Two folders of masks, paired by name: every metric of every sample, patient and class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from relay.data import Pixels, UnknownValues, refuse
from relay.errors import DataError
from relay.leg import Progress
from relay.metrics import RULE, Counts, Measuring, Values, about, counts, metrics, overlap
from relay.results import mean
from relay.score.pairs import Asked, Pair, mask_values_of, pairs_of, prediction_mask_values
from relay.score.result import Score, row
from relay.statistics import INTERVAL, describe

VALUES = (
    "Give the value of each class, background first: --prediction-values 0,255 for the predictions, --values 0,255 "
    "for the truth. Or correct the masks."
)


@dataclass
class Found:
    """What is known about the samples so far."""

    num_classes: int
    jobs: list[tuple[Pair, Future[Values]]] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)

    def add(self, pair: Pair, pred: Pixels, truth: Pixels, job: Future[Values], unit: str) -> None:
        """Add one that is being measured."""
        here = counts(pred, truth, self.num_classes)
        known = self.counts.get(pair.patient)
        self.counts[pair.patient] = here if known is None else known + here
        self.jobs.append((pair, job))
        self.units.add(unit)


def score_masks(predictions: Path, truth: Path, asked: Asked, console: Console | None = None) -> Score:
    """Score a folder of masks against another, sample by sample, patient by patient and over all voxels.

    Args:
        predictions: masks of any format that :func:`relay.data.read.read_mask` reads; also in subfolders.
        truth: likewise, with the same names. Those without a prediction are not scored, but listed as ``missing``.
        console: shows progress, as everywhere (:class:`relay.leg.progress.Progress`).

    Raises:
        UserError: the options are inconsistent.
        DataError: files have no truth, can't be read or don't match; all of them are named or counted.
    """
    asked.check()
    together = pairs_of(predictions, truth, asked)
    pairs = together.pairs
    problems: list[str | DataError] = [*together.problems]
    mask_values = mask_values_of(pairs, asked, together.problems)
    predicted = prediction_mask_values(pairs, mask_values, asked)
    found = Found(len(mask_values))
    with Measuring(asked.workers, asked.metrics) as measuring, Progress(len(pairs), console) as progress:
        for pair in progress.counted(pairs, "scoring"):
            try:
                pred, true, spacing = pair.read(mask_values, predicted, asked)
            except UnknownValues as error:  # its own advice is for a config
                problems.append(DataError(str(error), VALUES))
                continue
            except DataError as error:
                problems.append(error)
                continue
            if not problems:
                job = measuring.submit(pred, true, len(mask_values), spacing, asked.tolerance)
                found.add(pair, pred, true, job, "mm" if spacing else "px")
        refuse(
            problems, f"{predictions} can't be scored", "Fix or remove the files named above, or correct the options."
        )
        if len(found.units) > 1:
            raise DataError("some masks have a spacing and others don't", "Give it for those that don't: --spacing")
        with progress.stage("measuring the last masks"):  # other processes may still be busy
            samples = [(pair, job.result()) for pair, job in found.jobs]
    return _score(predictions.resolve().name, samples, found, asked, together.missing)


def _score(
    study: str, measured: list[tuple[Pair, Values]], found: Found, asked: Asked, missing: Sequence[str]
) -> Score:
    names = list(asked.classes or ["background", *(f"class {k}" for k in range(1, found.num_classes))])
    patients = _patients(found, asked) if asked.patients is not None else {}
    whole = overlap(sum(list(found.counts.values())[1:], next(iter(found.counts.values()))), asked.metrics)
    rows = [
        row(study, pair.patient, pair.name, name, metric, value)
        for pair, values in measured
        for name, metric, value in _flat(values, names)
    ]
    rows += [
        row(study, patient, "", name, metric, value)
        for patient, values in patients.items()
        for name, metric, value in _flat(values, names)
    ]
    samples = _summary([(pair.patient, values) for pair, values in measured], names, asked)
    summary = {
        "study": study,
        "task": "segmentation",
        "rule": RULE,
        "unit": found.units.pop(),
        "tolerance": asked.tolerance,
        "metrics": about(asked.metrics),
        "classes": names,
        "samples": len(measured),
        "missing": list(missing),
        "patients": len(found.counts),
        "rows": samples,
        "mean": {metric: mean(_foreground(samples, metric, names[0])) for metric in metrics(asked.metrics)},
        "interval": INTERVAL,
        "subjects": _summary(list(patients.items()), names, asked),
        "voxels": {metric: dict(zip(names, values, strict=True)) for metric, values in whole.items()},
    }
    return Score(rows, summary)


def _patients(found: Found, asked: Asked) -> dict[str, Values]:
    return {patient: overlap(sums, asked.metrics) for patient, sums in found.counts.items()}


def _flat(values: Values, names: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    for metric, by_class in values.items():
        yield from ((name, metric, value) for name, value in zip(names, by_class, strict=True))


def _summary(found: Sequence[tuple[str, Values]], names: Sequence[str], asked: Asked) -> list[dict[str, Any]]:
    """A line a class and metric; none for the background's surfaces, which nobody measures."""
    known = metrics(asked.metrics)
    return [
        {"class": name, "metric": metric}
        | describe([(patient, values[metric][label]) for patient, values in found], seed=0)
        for label, name in enumerate(names)
        for metric in (found[0][1] if found else ())
        if label or known[metric].background
    ]


def _foreground(lines: Sequence[dict[str, Any]], metric: str, background: str) -> list[float]:
    return [line["mean"] for line in lines if line["metric"] == metric and line["class"] != background]
