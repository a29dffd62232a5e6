"""Results as tidy rows, and what they add up to: the matrix of legs and sites, its mean, its forgetting.

A row is one sample and class: study, strategy, leg, trained, site, patient, sample, class, metric, value. A
value that could not be measured is missing (an empty cell), never zero, and is left out of every mean.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from relay.files import write_text

COLUMNS = ("study", "strategy", "leg", "trained", "site", "patient", "sample", "class", "metric", "value")

Row = Mapping[str, Any]
Matrix = dict[int, dict[str, float]]
"""leg → site → mean Dice over its test samples and classes."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Rows as CSV; a missing value is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows:
        value = row["value"]
        writer.writerow({**row, "value": "" if math.isnan(value) else repr(round(value, 6))})
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What :func:`write_rows` wrote."""
    with path.open(newline="") as file:
        return [
            {**row, "leg": int(row["leg"]), "value": float(row["value"]) if row["value"] else math.nan}
            for row in csv.DictReader(file)
        ]


def mean(values: Iterable[float]) -> float:
    """The mean of what is there; NaN of nothing."""
    there = [value for value in values if not math.isnan(value)]
    return fmean(there) if there else math.nan


def matrix(rows: Iterable[Row]) -> Matrix:
    """Mean Dice of each leg's model on each site: over samples for each class, then over classes.

    The background is left out: it is the first class of every data set.
    """
    cells: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    first: dict[tuple[int, str], str] = {}
    for row in rows:
        cell = (int(row["leg"]), str(row["site"]))
        first.setdefault(cell, row["class"])
        if row["class"] != first[cell]:
            cells[cell][row["class"]].append(float(row["value"]))
    table: Matrix = defaultdict(dict)
    for (leg, site), by_class in cells.items():
        table[leg][site] = mean(mean(values) for values in by_class.values())
    return dict(table)


def forgetting(table: Matrix, sites: Sequence[str]) -> float:
    """How much was lost: mean over sites of (best Dice after an earlier leg − Dice after the last leg).

    Chaudhry et al. 2018 (Riemannian walk), over the sites of all legs but the last, each once; only what a model
    scored on a site once that site had been trained on counts. NaN where there is one leg only.

    Args:
        sites: the site that each leg trained on, in the order of the legs.
    """
    legs = sorted(table)
    lost = []
    for site in dict.fromkeys(sites[:-1]):
        scores = [table[leg].get(site, math.nan) for leg in legs[sites.index(site) :]]
        seen = [score for score in scores[:-1] if not math.isnan(score)]
        lost.append(max(seen, default=math.nan) - scores[-1])
    return mean(lost)


def no_nan(value: Any) -> Any:
    """For JSON, which has no NaN: what could not be measured is null; keys become text."""
    if isinstance(value, Mapping):
        return {str(key): no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [no_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
