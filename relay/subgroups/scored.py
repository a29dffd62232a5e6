"""The scores of single samples that ``relay predict`` wrote."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from relay.errors import UserError, plain
from relay.files import read_record
from relay.report import rows_of
from relay.results import GENERALIST
from relay.subgroups.columns import Key
from relay.tasks import Task, named

Rows: TypeAlias = "list[tuple[str, float]]"
"""A metric's rows of a sample: class and value."""
TITLES = {"dice": "Dice", "correct": "share of right answers", "absolute_error": "absolute error"}
"""What the metrics by which groups are compared are called in a sentence."""
AGAIN = "Run predict_test.py again: it writes the file anew."


@dataclass(frozen=True)
class Sample:
    """A test image's scores.

    Attributes:
        patient: unique over all sites.
        scores: metric → its value, of a mask the mean over the classes that it is measured for; NaN if missing.
        answer: what the model put out, one number for each output, and ``truth``, as :meth:`relay.tasks.Task.measure`
            takes them; of a mask, nothing.
    """

    patient: Key
    scores: Mapping[str, float]
    answer: Sequence[float] = ()
    truth: Any = None


@dataclass(frozen=True)
class Scored:
    """What was read.

    Attributes:
        main: the metric by which the task compares.
        samples: by site and name, as the last leg's model predicted them.
        task: whose metrics of whole sets can be measured; None for masks.
    """

    main: str
    samples: Mapping[Key, Sample]
    task: Task | None


def read_samples(path: Path, model: str | None = None, first: str = AGAIN) -> Scored:
    """Every sample, as the last leg's model predicted it; the task is the one that ``evaluation.json`` beside it names.

    Args:
        model: only rows of this kind of model, if a leg has several in the table; None for all rows.
        first: what to do if there is no such file.

    Raises:
        UserError: one of the two files is missing or damaged, or the table has no scores of this task.
    """
    kind = _task(path.with_name("evaluation.json")) if path.exists() else Task
    found: dict[tuple[int, Key], dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    patients: dict[Key, Key] = {}
    try:
        for row in rows_of(path):
            if not row["sample"] or model not in (None, row.get("model", GENERALIST)):  # a patient's, another model's
                continue
            key = plain(row["site"]), row["sample"]
            patients[key] = key[0], row["patient"]
            value = float(row["value"]) if row["value"] else math.nan
            found[int(row["leg"]), key][row["metric"]].append((row["class"], value))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", first) from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged: {error}", AGAIN) from error
    if not any(kind.sample_metric in rows for rows in found.values()):
        raise UserError(
            f"{path} has no score of any sample ({kind.name}: rows of the metric {kind.sample_metric})", AGAIN
        )
    last: dict[Key, int] = {}
    for leg, key in found:
        last[key] = max(leg, last.get(key, leg))
    try:
        samples = {key: _sample(kind, patients[key], found[leg, key]) for key, leg in last.items()}
        names = [] if kind.dense else _names(kind, found[next(iter(last.items()))[::-1]])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: the rows of an image don't fit together ({error})", AGAIN) from error
    return Scored(kind.sample_metric, samples, kind(len(names), names) if names else None)


def _task(path: Path) -> type[Task]:
    """The task that was measured.

    Raises:
        UserError: the file is missing or damaged, or names no task.
    """
    record = read_record(path, {"task": str}, AGAIN)
    if record is None:
        raise UserError(f"{path} is missing: it says what task the scores beside it are of", AGAIN)
    try:
        return named(record["task"])
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}", AGAIN) from error


def _sample(kind: type[Task], patient: Key, rows: Mapping[str, Rows]) -> Sample:
    """A sample's rows, by metric, as its scores and answer."""
    main = kind.sample_metric
    if kind.dense:
        return Sample(patient, {metric: _mean(values, kind.background) for metric, values in rows.items()})
    scores = {main: _mean(rows[main], kind.background)}  # what else is written of an answer is no score
    if kind.likelihood == "gaussian":
        return Sample(patient, scores, [value for _, value in rows["prediction"]], rows["truth"][0][1])
    names, groups = _names(kind, rows), [name for name, _ in rows[main]]
    if len(groups) != (1 if kind.likelihood == "categorical" else len(names)):
        raise ValueError(f"{len(groups)} rows of {main} for {len(names)} classes of a {kind.name}")
    # the groups in which a sample is scored are those that it belongs to, so they tell the truth
    truth = names.index(groups[0]) if kind.likelihood == "categorical" else [int(name in groups) for name in names]
    return Sample(patient, scores, [value for _, value in rows["probability"]], truth)


def _names(kind: type[Task], rows: Mapping[str, Rows]) -> list[str]:
    return [name for name, _ in rows["prediction" if kind.likelihood == "gaussian" else "probability"]]


def _mean(values: Rows, background: bool) -> float:
    """Over the classes, without the background, which comes first."""
    there = [value for _, value in (values[1:] if background and len(values) > 1 else values) if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan
