"""The scores of single samples, from a run's tidy rows."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relay.errors import UserError, plain
from relay.report.shapes import damaged
from relay.results import GENERALIST, matrix, mean
from relay.tasks import Segmentation, Task, of_metric

Cell = tuple[int, str]
"""A leg's number and a site."""


@dataclass
class Scores:
    """Scores of single samples, of each leg's one model for everybody, without the background.

    Attributes:
        classes: names, the background left out.
        study, strategy: as the rows say.
        trained: leg → the site it trained on.
        found: leg and site → sample → class → score; NaN if missing.
        task: what the scores are of.
    """

    study: str = ""
    strategy: str = ""
    classes: list[str] = field(default_factory=list)
    trained: dict[int, str] = field(default_factory=dict)
    found: dict[Cell, dict[str, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))
    task: type[Task] = Segmentation

    @property
    def matrix(self) -> dict[int, dict[str, float]]:
        """Leg → site → mean over samples, then over classes; in the order of the sites."""
        metric, background = self.task.sample_metric, {"": math.nan} if self.task.background else {}
        rows = [
            {"leg": leg, "model": GENERALIST, "site": site, "class": name, "metric": metric, "value": value}
            for (leg, site), cell in sorted(self.found.items(), key=lambda item: item[0][0])
            for sample in cell.values()
            for name, value in {**background, **sample}.items()
        ]
        return matrix(rows)

    def of(self, leg: int, site: str, name: str) -> list[float]:
        """All measured values of a class, sorted."""
        values = [sample.get(name, math.nan) for sample in self.found.get((leg, site), {}).values()]
        return sorted(value for value in values if not math.isnan(value))

    def means(self, leg: int, site: str) -> dict[str, float]:
        """Sample → mean over classes, for samples that have one."""
        found = {sample: mean(values.values()) for sample, values in self.found.get((leg, site), {}).items()}
        return {sample: value for sample, value in found.items() if not math.isnan(value)}


NEEDED = ("study", "strategy", "leg", "trained", "site", "sample", "class", "metric", "value")


def read_scores(path: Path) -> Scores | None:
    """The scores of single samples in a file of tidy rows; None if it does not exist.

    Raises:
        UserError: it is damaged, truncated or empty.
    """
    if not path.is_file():
        return None
    scores = Scores()
    first: dict[str, str] = {}
    try:
        for row in rows_of(path):
            task = of_metric(row["metric"])
            if task is None or not row["sample"] or row.get("model", GENERALIST) != GENERALIST:
                continue
            leg, site, name = int(row["leg"]), plain(row["site"]), plain(row["class"])
            scores.trained.setdefault(leg, plain(row["trained"]))
            cell = scores.found[leg, site].setdefault(row["sample"], {})
            if not task.background or name != first.setdefault(site, name):  # the background comes first
                cell[name] = _score(row["value"], task)
            scores.task = task
            scores.study, scores.strategy = plain(row["study"]), plain(row["strategy"])
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Run the study again, or restore it.") from error
    except (ValueError, csv.Error) as error:
        raise damaged(path, error) from error
    whole = all(len({frozenset(sample) for sample in cell.values()}) == 1 for cell in scores.found.values())
    if not scores.found or not (whole or not scores.task.dense):  # an image without a mask is of one class
        raise damaged(
            path, "a sample lacks classes; the file was truncated" if scores.found else "it has no score of any sample"
        )
    scores.classes = list(dict.fromkeys(c for cell in scores.found.values() for s in cell.values() for c in s))
    return scores


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a table with the columns of :data:`NEEDED`; ValueError if a line is incomplete."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in NEEDED if column not in (reader.fieldnames or ())]:
            raise ValueError(f"no column {', '.join(missing)}")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} is incomplete")
            yield row
    with path.open("rb") as end:
        end.seek(-1, 2)
        if end.read() != b"\n":
            raise ValueError("the last line is incomplete; the file was truncated")


def _score(text: str, task: type[Task]) -> float:
    value = float(text) if text else math.nan
    low, high = task.primary.bounds
    if not (low <= value <= high or math.isnan(value)):
        raise ValueError(f"a score of {text} ({task.sample_metric})")
    return value
