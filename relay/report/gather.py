"""Read what a run has left in its folder; a part that is not there is empty, and only the summary must be."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from relay.errors import UserError, plain
from relay.leg.place import LegPlace
from relay.results import mean

Cell = tuple[int, str]
"""A leg's number and a site."""


@dataclass
class Scores:
    """Dice of single samples, without the background.

    Attributes:
        classes: names, the background left out.
        trained: leg → the site it was trained at.
        dice: leg and site → sample → class → Dice; a missing value is NaN.
    """

    classes: list[str] = field(default_factory=list)
    trained: dict[int, str] = field(default_factory=dict)
    dice: dict[Cell, dict[str, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))

    def of(self, leg: int, site: str, name: str) -> list[float]:
        """All that was measured of a class, sorted."""
        values = [sample.get(name, math.nan) for sample in self.dice.get((leg, site), {}).values()]
        return sorted(value for value in values if not math.isnan(value))

    def means(self, leg: int, site: str) -> dict[str, float]:
        """Sample → mean over classes, of the samples where there is one."""
        found = {sample: mean(values.values()) for sample, values in self.dice.get((leg, site), {}).items()}
        return {sample: value for sample, value in found.items() if not math.isnan(value)}


@dataclass(frozen=True)
class LegRecord:
    """A leg's folder name, its number, and what ``leg.json`` says."""

    number: int
    folder: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run, read.

    Attributes:
        summary: ``results/summary.json``; its matrix is ``matrix`` here: leg → site → Dice.
        evaluation: ``results/evaluation.json``; empty where predict_test.py has not been run.
        given: the config as it was given.
    """

    root: Path
    summary: Mapping[str, Any]
    matrix: Mapping[int, Mapping[str, float]]
    scores: Scores
    evaluation: Mapping[str, Any]
    legs: list[LegRecord]
    given: Mapping[str, Any]

    @property
    def sites(self) -> list[str]:
        """Every test set, in the order they come."""
        return list(dict.fromkeys(site for row in self.matrix.values() for site in row))

    @property
    def apart(self) -> bool:
        """Whether the sites' models are compared each on its own site: nothing was handed over."""
        return all("start" in leg.record and leg.record["start"] is None for leg in self.legs) and len(self.legs) > 1

    def label(self, leg: int) -> str:
        """A leg as people read it."""
        return f"{leg} · {self.scores.trained[leg]}" if leg in self.scores.trained else f"{leg}"


def read_run(root: Path) -> Run:
    """All of it.

    Raises:
        UserError: there are no results, or a file of them is damaged.
    """
    results = root / "results"
    summary = read_json(results / "summary.json")
    matrix = {int(leg): {s: number(v) for s, v in row.items()} for leg, row in summary.get("matrix", {}).items()}
    evaluated = results / "samples.csv"
    scores = read_scores(evaluated if evaluated.is_file() else results / "scores.csv")
    evaluation = results / "evaluation.json"
    return Run(
        root=root,
        summary=summary,
        matrix=matrix,
        scores=scores,
        evaluation=read_json(evaluation) if evaluation.is_file() else {},
        legs=read_legs(root, sorted(matrix)),
        given=_yaml(root / "config.given.yaml"),
    )


def number(value: float | None) -> float:
    """Null in JSON is NaN here."""
    return math.nan if value is None else float(value)


def read_json(path: Path) -> dict[str, Any]:
    """A file of results. Its texts are made printable: they may be anybody's.

    Raises:
        UserError: it is not there, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Run the study again, or restore it.") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}", "Run the command that wrote it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it is not an object", "Run the command that wrote it again.")
    shown: dict[str, Any] = _printable(content)
    return shown


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def read_scores(path: Path) -> Scores:
    """The Dice of single samples in a file of tidy rows; nothing where it is not there.

    Raises:
        UserError: it is damaged.
    """
    scores = Scores()
    first: dict[str, str] = {}
    if not path.is_file():
        return scores
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["metric"] != "dice" or not row["sample"]:
                    continue
                leg, site, name = int(row["leg"]), plain(row["site"]), plain(row["class"])
                scores.trained.setdefault(leg, plain(row["trained"]))
                if name == first.setdefault(site, name):
                    continue  # the background comes first
                value = float(row["value"]) if row["value"] else math.nan
                scores.dice[leg, site].setdefault(row["sample"], {})[name] = value
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error!r}", "Run the command that wrote it again.") from error
    scores.classes = list(dict.fromkeys(c for cell in scores.dice.values() for s in cell.values() for c in s))
    return scores


def read_legs(root: Path, numbers: list[int]) -> list[LegRecord]:
    """The legs' records, in the order of the legs.

    Args:
        numbers: of the legs in the results.
    """
    found = sorted(path.parent.name for path in (root / "checkpoints").glob("*/leg.json"))
    planned = list(_yaml(root / "config.resolved.yaml"))
    order = sorted(found, key=lambda folder: planned.index(folder) if folder in planned else len(planned))
    known = numbers if len(numbers) == len(order) else range(1, len(order) + 1)
    records = [LegPlace(root / "checkpoints" / folder).record() for folder in order]
    legs = zip(known, order, records, strict=True)
    return [LegRecord(number, plain(folder), _printable(record)) for number, folder, record in legs]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is damaged: {error}", "Restore it, or run the study under a new note (-n).") from error
    return content if isinstance(content, dict) else {}
