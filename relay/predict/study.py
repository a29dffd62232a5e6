"""Test models on the available test sets, sample by sample, and optionally save masks and overlays."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from torch import nn

from relay.config import Devices
from relay.data import Dataset, Pixels, SiteData, stacked
from relay.errors import UserError
from relay.files import write_text
from relay.leg import Needs, Predicted, Progress, RunPaths, Sites, device_of, digests, predictions
from relay.metrics import CalibrationBins, Measuring
from relay.overlay import save_overlay
from relay.plan import Study
from relay.postprocess import steps_of
from relay.predict.cell import Cell, Clock, SampleCell
from relay.predict.masks import path_of, save_mask
from relay.predict.models import Model
from relay.predict.summary import summary
from relay.results import GENERALIST, no_nan, write_rows

FEW = 1 << 22
"""With fewer voxels than this, worker processes would take longer to start than to measure."""


@dataclass(frozen=True)
class Testing:
    """How models are tested.

    Attributes:
        tolerance: of the normalised surface Dice, in mm if the spacing is known, else in pixels.
        save: whether to write masks and overlays.
        workers: number of processes that measure; 0 for this one.
    """

    tolerance: float = 2.0
    save: bool = False
    workers: int = max(0, min(8, (os.cpu_count() or 1) - 1))


def results_of(models: Sequence[Model], root: Path, which: str | None = None) -> Path:
    """The folder for results: ``results/`` for a run's own models; a subfolder for an outside model, with its name, and
    for a choice other than each leg's generalist, so that the report keeps its numbers.

    Args:
        which: the choice; None for all that is here.
    """
    return root / "results" / models[0].folder if models[0].outside else results_at(root, which)


def results_at(root: Path, which: str | None = None) -> Path:
    """:func:`results_of` a run's own models."""
    return root / "results" / ("" if which in (None, GENERALIST) else which)


def predict_study(
    study: Study,
    models: Sequence[Model],
    folder: Path,
    root: Path,
    devices: Devices,
    console: Console,
    how: Testing,
) -> dict[str, Any]:
    """Every metric of each model on each accessible test set that it is for.

    Writes ``samples.csv`` (one row per sample, class and metric, and one per patient for metrics over all images of a
    patient) and ``evaluation.json``; optionally masks under ``predictions/<model>/<site>/`` and overlays under
    ``overlays/``.

    Args:
        folder: where to write.
        root: the run's folder, which has its splits.

    Raises:
        UserError: no test set that a model is for is here.
        DataError: images can't be used, or have changed since a leg of this run was tested on them.

    Returns:
        The content of ``evaluation.json``.
    """
    pairs = _pairs(study, models)
    tested = {dataset.options.task_id: dataset for _, dataset in pairs}
    needed: Needs = [(dataset, ("test",)) for dataset in tested.values()]
    sites = Sites(study.legs[0].conf.random_seed, RunPaths(root), several=len(tested) > 1)
    sites.read(needed, lambda text: console.print(text, markup=False, emoji=False, highlight=False))
    _check_files(models, sites.files(needed), RunPaths(root))
    shapes = [shape for _, dataset in pairs for shape in sites(dataset).test.shapes]
    workers = how.workers if study.task.dense and sum(map(prod, shapes)) >= FEW else 0
    cells = []
    with Measuring(workers, study.results.metrics) as measuring, Progress(len(shapes), console) as progress:
        for model, group in groupby(pairs, lambda pair: pair[0]):
            net = model.net(devices)
            for _, dataset in group:
                site = sites(dataset)
                unit: Literal["mm", "px"] = "mm" if all(site.test.spacings) else "px"
                more = study.results.metrics
                kind = Cell if study.task.dense else SampleCell
                cell = kind(study.name, study.strategy, model, dataset.options, unit, how.tolerance, more)
                pictures = _Pictures(site, cell, folder) if how.save and study.task.dense else None
                with progress.stage(f"testing {model.folder} on {dataset.options.task_name}", training=True):
                    _test(net, site, cell, devices, measuring, pictures, progress.advance)
                cells.append(cell)
                site.rest()
    write_rows(folder / "samples.csv", (row for cell in cells for row in cell.rows()))
    what = summary(study, cells, how.tolerance)
    write_text(folder / "evaluation.json", json.dumps(no_nan(what), indent=1) + "\n")
    return what


def _pairs(study: Study, models: Sequence[Model]) -> list[tuple[Model, Dataset]]:
    """Each model with each test set that it is for.

    Raises:
        UserError: there is none.
    """
    found = [
        (model, dataset)
        for model in models
        for dataset in study.test_sets
        if model.sites is None or dataset.options.task_name in model.sites
    ]
    if not found:
        wanted = ", ".join(site for model in models for site in model.sites or ())
        raise UserError(f"no test images of {wanted} are here", "Name their data set in all_tasks_datasets.")
    return found


def _check_files(models: Sequence[Model], tested: digests.Files, run: RunPaths) -> None:
    """Check that test images are the same as when the leg was trained, so that old and new scores are never mixed.

    Raises:
        DataError: test images or masks have changed.
    """
    for model in models:
        if not model.outside:
            digests.check(run.leg(model.leg.folder), tested)


def _test(
    net: nn.Module,
    site: SiteData,
    cell: Cell,
    devices: Devices,
    measuring: Measuring,
    pictures: _Pictures | None,
    step: Callable[[], Any],
) -> None:
    """Predict all of a site's test images; collect the concurrent measurements at the end."""
    device = device_of(devices)
    calibration = CalibrationBins(cell.options.outputs).to(device) if cell.options.does.dense else None
    inference = Clock()
    steps = steps_of(cell.model.leg.conf.predict.postprocess)
    found = predictions(net, site, device, calibration, steps)
    while (predicted := inference.time(lambda: next(found, None))) is not None:
        cell.measure(predicted, measuring)
        if pictures:
            pictures.save(predicted)
        step()
    cell.finish(calibration.compute() if calibration else {}, inference.seconds)


class _Pictures:
    """Writes the masks and overlays of one model on one test set."""

    def __init__(self, site: SiteData, cell: Cell, folder: Path) -> None:
        self.site = site
        self.masks, self.overlays = (
            folder / kind / cell.model.folder / cell.options.task_name for kind in ("predictions", "overlays")
        )
        self._slices: list[Pixels] = []
        self._many = Counter(sample.images for sample in site.split.test)

    def save(self, found: Predicted) -> None:
        assert found.mask is not None
        sample = found.sample
        save_overlay(self.site.view(sample), found.mask, found.truth, self.overlays / path_of(sample))
        axis = self.site.dataset.options.slice_axis
        if sample.slice is None or axis is None:
            save_mask(found.mask, sample.image, self.masks / path_of(sample))
            return
        self._slices = [*(self._slices if sample.slice else ()), found.mask]  # they follow each other
        if len(self._slices) == self._many[sample.images]:
            volume = replace(sample, id=sample.id.rpartition("#")[0])
            save_mask(stacked(self._slices, axis), sample.image, self.masks / path_of(volume))
