"""Read the files in a run's folder. Missing parts are empty; only the scores must exist."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from relay.config import read_own
from relay.data import Doubt, combined
from relay.errors import plain
from relay.leg import LegPaths
from relay.report.scores import Cell, Scores, read_scores, rows_of
from relay.report.shapes import Doubts, Evaluation, Record, Summary, damaged, read_json
from relay.report.tiles import MapsOfRun, ShownCase
from relay.results import GENERALIST, mean, of_relay
from relay.tasks import Task, named

AGAIN = "Restore it, or run the study under a new note (-n)."
"""What to do if the config of a run is damaged."""


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
        summary: ``results/summary.json``; its matrix is ``matrix`` here: leg → site → score.
        evaluation: ``results/evaluation.json``; empty if predict_test.py has not been run, or if it is ``stale``.
        stale: why the measurements of predict_test.py are not of these models; empty if they are.
        finished: whether all legs are; if not, everything here is about the legs that predict_test.py has tested.
        planned: folders of all legs that the config asks for.
        given: the config as it was given.
        doubts: warnings shown before training, each with its site.
        cases: images of patients, by site, if they were asked for; ``maps``: what ``relay explain`` drew of them.
    """

    root: Path
    summary: Mapping[str, Any]
    matrix: Mapping[int, Mapping[str, float]]
    scores: Scores
    evaluation: Mapping[str, Any]
    stale: str
    finished: bool
    planned: Sequence[str]
    legs: list[LegRecord]
    given: Mapping[str, Any]
    doubts: Sequence[str] = ()
    cases: Mapping[str, Sequence[ShownCase]] = field(default_factory=dict)
    maps: MapsOfRun | None = None

    @property
    def task(self) -> type[Task]:
        """What the models predict."""
        return named(self.summary.get("task"))

    @property
    def sites(self) -> list[str]:
        """Every test set, in order of appearance."""
        return list(dict.fromkeys(site for row in self.matrix.values() for site in row))

    @cached_property
    def apart(self) -> bool:
        """Whether each site's model is compared on its own site, because nothing was handed over."""
        return _apart(self.legs)

    def ends(self, site: str) -> int | None:
        """The leg whose model represents a site at the end: the last leg; or, if :attr:`apart`, the site's last one."""
        return self.own.get(site) if self.apart else self.last

    @cached_property
    def own(self) -> Mapping[str, int]:
        """The last leg that trained at each site."""
        return {site: leg for leg, site in sorted(self.scores.trained.items())}

    @cached_property
    def last(self) -> int | None:
        """The last leg of all."""
        return max(self.scores.trained, default=None)

    def label(self, leg: int) -> str:
        """A leg's label for people."""
        return f"{leg} · {self.scores.trained[leg]}" if leg in self.scores.trained else f"{leg}"


def read_run(root: Path) -> Run:
    """Read a whole run.

    Raises:
        UserError: there are no results, or one of their files is damaged.
    """
    results = root / "results"
    finished = (results / "summary.json").is_file()
    planned = list(read_own(root / "config.resolved.yaml", AGAIN))
    tested, scores = read_scores(results / "samples.csv"), read_scores(results / "scores.csv")
    scores = scores or tested or Scores()
    legs = read_legs(root, planned, scores.trained)
    summary = read_json(results / "summary.json", Summary) if finished else _summary(scores, legs)
    table = {int(leg): {s: number(v) for s, v in row.items()} for leg, row in summary["matrix"].items()}
    if finished and scores is not tested:
        _check(results / "scores.csv", scores, table)
    path = results / "evaluation.json"
    evaluation = _of_generalists(read_json(path, Evaluation)) if path.is_file() else {}
    stale = _stale(table, tested, evaluation)
    return Run(
        root=root,
        summary=summary,
        matrix=table,
        scores=Scores(trained=scores.trained) if scores is tested and stale else scores,
        evaluation={} if stale else evaluation,
        stale=stale,
        finished=finished,
        planned=[plain(str(folder)) for folder in planned],
        legs=legs,
        given=read_own(root / "config.given.yaml", AGAIN),
        doubts=_doubts(results / "warnings.json"),
    )


def _of_generalists(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of each leg's one model for everybody; earlier versions measured no other, and name none."""
    kept = {
        key: [row for row in evaluation.get(key, []) if row.get("model", GENERALIST) == GENERALIST]
        for key in ("rows", "subjects", "voxels", "whole", "calibration", "confusion")
    }
    return {**evaluation, **kept}


def _doubts(path: Path) -> list[str]:
    content = read_json(path, Doubts, "Remove it; the page then shows no warnings.") if path.is_file() else {}
    return [f"{line}." for line in combined(Doubt(each["site"], each["text"]) for each in content.get("warnings", []))]


def _apart(legs: Sequence[LegRecord]) -> bool:
    return all("start" in leg.record and leg.record["start"] is None for leg in legs) and len(legs) > 1


def _summary(scores: Scores, legs: Sequence[LegRecord]) -> dict[str, Any]:
    """The summary of an unfinished run, from the legs that were tested."""
    table, trained = scores.matrix, scores.trained
    last = table[max(table)]
    own = {site: table[leg].get(site, math.nan) for leg, site in sorted(trained.items())}
    alone = _apart(legs)
    relay = of_relay(table, [[trained[leg]] for leg in sorted(table)], final=own if alone else None, task=scores.task)
    final = own if alone else last
    content = {
        "study": scores.study,
        "strategy": scores.strategy,
        "task": scores.task.name,
        "matrix": table,
        "final": final,
        "relay": relay,
    }
    return content | {"mean": mean(final.values()), "forgetting": relay["forgetting"]}


SAME, CLOSE = 1e-4, 0.01
"""Scores of the same rows, and of the same model twice: another device may change a few pixels."""


def _close(one: float, other: float, most: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or abs(one - other) <= most


def _cells(table: Mapping[int, Collection[str]]) -> set[Cell]:
    return {(leg, site) for leg, row in table.items() for site in row}


def _check(path: Path, scores: Scores, table: Mapping[int, Mapping[str, float]]) -> None:
    """Check that all scores behind the summary are there.

    Raises:
        UserError: some are missing.
    """
    found = scores.matrix
    for leg, site in sorted(_cells(table) | _cells(found) if scores.trained else ()):
        values = [where.get(leg, {}).get(site) for where in (found, table)]
        if values[0] is None or values[1] is None or not _close(values[0], values[1], SAME * max(1.0, abs(values[1]))):
            why = f"leg {leg} at {site} does not match summary.json; rows are missing or are from another run"
            raise damaged(path, why, "Run the study again (python train.py): it rewrites both from the legs.")


def _stale(table: Mapping[int, Mapping[str, float]], tested: Scores | None, evaluation: Mapping[str, Any]) -> str:
    """Why the results of predict_test.py are not from the models of the matrix; empty if they are."""
    again = "run predict_test.py again."
    measured = {(int(row["leg"]), str(row["site"])) for row in evaluation.get("rows", [])}
    found = tested.matrix if tested else {}
    for cells in (*([_cells(found)] if tested else []), *([measured] if evaluation else [])):
        if later := sorted(set(table) - {leg for leg, _ in cells}):
            return f"Measured before leg {later[0]} was trained; {again}"
        if cells != _cells(table):
            return f"Measured at other sites, or with other legs, than the scores here; {again}"
    most = CLOSE * max((abs(v) for row in table.values() for v in row.values() if not math.isnan(v)), default=1.0)
    if any(
        not _close(value, table[leg][site], max(CLOSE, most))
        for leg, row in found.items()
        for site, value in row.items()
    ):
        return f"Measured with other models than those of the scores here; {again}"
    return ""


def number(value: float | None) -> float:
    """Convert null in JSON to NaN."""
    return math.nan if value is None else float(value)


def read_legs(root: Path, planned: Sequence[str], trained: Mapping[int, str]) -> list[LegRecord]:
    """The legs' records, in the order of the legs.

    Args:
        planned: folders of all legs, in order, from the config.
        trained: leg → the site it trained on, from the scores.
    """
    found: dict[int, LegRecord] = {}
    for path in sorted((root / "checkpoints").glob("*/leg.json")):
        folder = path.parent.name
        record = read_json(path, Record, f"Remove {path.parent} to train this leg again.")
        leg = _number(LegPaths(path.parent), planned, trained, record)
        while leg in found or leg < 1:
            leg += 1
        found[leg] = LegRecord(leg, plain(folder), record)
    return [found[leg] for leg in sorted(found)]


def _number(paths: LegPaths, planned: Sequence[str], trained: Mapping[int, str], record: Mapping[str, Any]) -> int:
    """A leg's number: from its own scores, else the config, else the scores of its site; 0 if none gives it."""
    try:
        return int(next(rows_of(paths.scores))["leg"])
    except (OSError, ValueError, csv.Error, StopIteration):
        pass  # not finished yet
    if paths.root.name in planned:
        return planned.index(paths.root.name) + 1
    site = (record.get("config") or {}).get("dataset.kwargs.task_name")
    legs = [leg for leg, name in trained.items() if name == site]
    return legs[0] if len(legs) == 1 else 0
