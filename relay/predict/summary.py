"""Summary of the tests: means, spread and intervals by class and metric; calibration; cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

import numpy as np

from relay.metrics import RULE, about, classification, multilabel, regression
from relay.plan import Study
from relay.predict.cell import Cell
from relay.seeds import derive
from relay.statistics import INTERVAL, Floats, bounds, describe

RULES = {
    "segmentation": RULE,
    "classification": classification.RULE,
    "multilabel": multilabel.RULE,
    "regression": regression.RULE,
}
"""Of each task, what is missing and why."""


def summary(study: Study, cells: Sequence[Cell], tolerance: float) -> dict[str, Any]:
    """``evaluation.json``: see docs/reference/files.md."""
    units = {cell.options.task_name: cell.unit for cell in cells}
    seed, task = derive(study.legs[0].conf.random_seed, "intervals"), study.task
    return {
        "study": study.name,
        "strategy": study.strategy,
        "task": task.name,
        "rule": RULES[task.name],
        "interval": INTERVAL,
        **({"tolerance": tolerance, "unit": units} if task.dense else {}),
        "metrics": _about(study),
        "classes": list(cells[0].options.names) if cells else [],
        "score": [_where(cell) | _score(cell, seed) for cell in cells],
        "rows": [row for cell in cells for row in _rows(cell, seed)],
        "subjects": [row for cell in cells for row in _subjects(cell, seed)],
        "voxels": [row for cell in cells for row in _voxels(cell)],
        "whole": [row for cell in cells for row in _whole(cell)],
        "calibration": [_where(cell) | dict(cell.calibration) for cell in cells if cell.calibration],
        "confusion": [_where(cell) | {"counts": cell.confusion} for cell in cells if cell.confusion],
        "seconds": {
            "inference": round(sum(cell.inference for cell in cells), 3),
            "metrics": round(sum(cell.metrics for cell in cells), 3),
        },
    }


def _where(cell: Cell) -> dict[str, Any]:
    model = cell.model
    made = {"checkpoint": model.folder, "leg": model.number, "trained": model.site, "model": model.kind}
    return {**made, "site": cell.options.task_name}


def _about(study: Study) -> dict[str, dict[str, Any]]:
    """What is said of each metric: those of single samples, if they have a name of their own, then those of the set."""
    task = study.task
    known = about(study.results.metrics, task.name)  # type: ignore[arg-type]
    if task.sample_metric in known:
        return known
    up, title = task.primary.higher_is_better, task.sample_title
    own = {"title": title, "meaning": task.sample_meaning, "higher_is_better": up, "in_unit": False}
    return {task.sample_metric: own, **known}


def _score(cell: Cell, seed: int) -> dict[str, Any]:
    """The primary metric: the mean over samples for each class, then over classes except background; interval over
    patients, resampled with all their samples and classes."""
    task, found = cell.options.does, cell.values()
    names, metric = task.groups[1 if task.background else 0 :], task.sample_metric
    measured = [(who, k, x) for k, name in enumerate(names) for who, x in found[name, metric] if not isnan(x)]
    rows = {who: place for place, who in enumerate(sorted({who for who, *_ in measured}))}
    total, count = np.zeros((2, len(rows), len(names)))
    for who, k, value in measured:
        total[rows[who], k] += value
        count[rows[who], k] += 1
    about = bounds([(total, count)] if rows else [], _over_classes, seed)
    facts = {"samples": len(cell.samples), "patients": len(rows), "mean": about.mean}
    return facts | {"low": about.low, "high": about.high, "method": about.method}


def _over_classes(cells: Floats) -> Floats:
    """``(..., 1, classes)`` to ``(...)``; classes that were never measured are left out."""
    there = ~np.isnan(cells)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(there, cells, 0.0).sum((-2, -1)) / there.sum((-2, -1))
    return means


def _rows(cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
    for (name, metric), found in cell.values().items():
        yield _where(cell) | {"class": name, "metric": metric} | describe(found, seed)


def _subjects(cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
    patients = cell.patients()
    for metric in next(iter(patients.values()), {}):
        for place, name in enumerate(cell.options.names):
            found = [(patient, metrics[metric][place]) for patient, metrics in patients.items()]
            yield _where(cell) | {"class": name, "metric": metric} | describe(found, seed)


def _whole(cell: Cell) -> Iterator[dict[str, Any]]:
    for name, metric, value in cell.whole():
        yield _where(cell) | {"class": name, "metric": metric, "value": value}


def _voxels(cell: Cell) -> Iterator[dict[str, Any]]:
    for metric, values in cell.voxels().items():
        for name, value in zip(cell.options.names, values, strict=True):
            yield _where(cell) | {"class": name, "metric": metric, "value": value}
