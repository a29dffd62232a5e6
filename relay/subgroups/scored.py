"""The scores of single samples that ``relay predict`` wrote."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.errors import UserError, plain
from relay.report import rows_of
from relay.subgroups.columns import Key
from relay.tasks import of_metric

TITLES = {"dice": "Dice", "correct": "share of right answers", "absolute_error": "absolute error"}
"""What the metrics by which groups are compared are called in a sentence."""
AGAIN = "Run predict_test.py again: it writes the file anew."


@dataclass(frozen=True)
class Sample:
    """A test image's scores.

    Attributes:
        patient: unique over all sites.
        scores: metric → its value, of a mask the mean over the classes that it is measured for; NaN if missing.
    """

    patient: Key
    scores: Mapping[str, float]


def read_samples(path: Path) -> tuple[str, dict[Key, Sample]]:
    """Every sample, by site and name, as the last leg's model predicted it; and the metric by which the task compares.

    Raises:
        UserError: the file is missing, damaged, or has no scores.
    """
    found: dict[tuple[int, Key], dict[str, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    patients: dict[Key, Key] = {}
    main, background, dense = "", False, True
    try:
        for row in rows_of(path):
            if not row["sample"]:  # a patient's
                continue
            key = plain(row["site"]), row["sample"]
            patients[key] = key[0], row["patient"]
            task = of_metric(row["metric"])
            if task is not None:
                main, background, dense = row["metric"], task.background, task.dense
            value = float(row["value"]) if row["value"] else math.nan
            found[int(row["leg"]), key][row["metric"]].append((row["class"], value))
    except OSError as error:
        raise UserError(
            f"{path} can't be read: {error.strerror}", "Run predict_test.py first: it measures every image."
        ) from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged: {error}", AGAIN) from error
    if not main:
        raise UserError(f"{path} has no score of any sample", AGAIN)
    last: dict[Key, int] = {}
    for leg, key in found:
        last[key] = max(leg, last.get(key, leg))
    return main, {
        key: Sample(
            patients[key],
            {
                metric: _mean(values, background)
                for metric, values in found[leg, key].items()
                if dense
                or metric == main  # what else is written of an answer, such as each class's probability, is no score
            },
        )
        for key, leg in last.items()
    }


def _mean(values: list[tuple[str, float]], background: bool) -> float:
    """Over the classes, without the background, which comes first."""
    there = [value for _, value in (values[1:] if background and len(values) > 1 else values) if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan
