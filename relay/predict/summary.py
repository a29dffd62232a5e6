"""What the tests of models add up to: means, spread and intervals by class and metric; calibration; cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, median, stdev
from typing import Any

from relay.metrics.segmentation import RULE
from relay.plan import Study
from relay.predict.cell import Cell
from relay.seeds import derive
from relay.statistics import interval

LEVEL, RESAMPLES = 0.95, 2000
INTERVAL = (
    f"{LEVEL:.0%} intervals of the mean over samples, from {RESAMPLES} bootstrap resamples of whole patients: bca "
    "(bias-corrected and accelerated), or percentile where there are few patients"
)


def summary(study: Study, cells: Sequence[Cell], tolerance: float) -> dict[str, Any]:
    """``evaluation.json``: see docs/reference/files.md."""
    seed = derive(study.legs[0].conf.random_seed, "intervals")
    return {
        "study": study.name,
        "strategy": study.strategy,
        "rule": RULE,
        "interval": INTERVAL,
        "tolerance": tolerance,
        "unit": {cell.options.task_name: cell.unit for cell in cells},
        "classes": list(cells[0].options.names) if cells else [],
        "rows": [row for cell in cells for row in _rows(cell, seed)],
        "subjects": [row for cell in cells for row in _subjects(cell, seed)],
        "voxels": [row for cell in cells for row in _voxels(cell)],
        "calibration": [_where(cell) | cell.calibration for cell in cells],
        "seconds": {
            "inference": round(sum(cell.inference for cell in cells), 3),
            "metrics": round(sum(cell.metrics for cell in cells), 3),
        },
    }


def _where(cell: Cell) -> dict[str, Any]:
    model = cell.model
    return {"checkpoint": model.folder, "leg": model.number, "trained": model.site, "site": cell.options.task_name}


def _rows(cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
    for (name, metric), found in cell.values().items():
        yield _where(cell) | {"class": name, "metric": metric} | describe(found, seed)


def _subjects(cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
    patients = cell.patients()
    for metric in next(iter(patients.values()), {}):
        for place, name in enumerate(cell.options.names):
            found = [(patient, metrics[metric][place]) for patient, metrics in patients.items()]
            yield _where(cell) | {"class": name, "metric": metric} | describe(found, seed)


def _voxels(cell: Cell) -> Iterator[dict[str, Any]]:
    for metric, values in cell.voxels().items():
        for name, value in zip(cell.options.names, values, strict=True):
            yield _where(cell) | {"class": name, "metric": metric, "value": value}


def describe(found: Sequence[tuple[str, float]], seed: int) -> dict[str, Any]:
    """Number, spread and interval of (patient, value); what is missing is counted and left out."""
    there = [(patient, value) for patient, value in found if not math.isnan(value)]
    values = [value for _, value in there]
    nan = math.nan
    about = interval(values, [patient for patient, _ in there], seed, LEVEL, RESAMPLES)
    return {
        "samples": len(found),
        "patients": len({patient for patient, _ in found}),
        "measured": len(values),
        "mean": fmean(values) if values else nan,
        "sd": stdev(values) if len(values) > 1 else nan,
        "median": median(values) if values else nan,
        "low": about.low,
        "high": about.high,
        "method": about.method,
    }
