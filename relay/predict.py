"""Score finished legs' checkpoints on the test sets that are here, and save what they predict."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from relay.config.devices import Devices
from relay.data.sample import Sample
from relay.errors import UserError
from relay.files import write_bytes, write_text
from relay.handoff import load_solver
from relay.handoff.desk import Desk, home_of
from relay.handoff.receive import reopen
from relay.leg import checkpoint
from relay.leg.device import device_of
from relay.leg.evaluate import predictions, rows
from relay.leg.place import RunPlace
from relay.leg.run import check_fit
from relay.leg.sites import Sites
from relay.metrics.dice import RULE
from relay.plan import Leg, Study
from relay.results import mean, no_nan, write_rows

PALETTE = [
    0,
    0,
    0,
    230,
    159,
    0,
    86,
    180,
    233,
    0,
    158,
    115,
    240,
    228,
    66,
    0,
    114,
    178,
    213,
    94,
    0,
    204,
    121,
    167,
]
"""Okabe and Ito's colours, told apart by colour-blind eyes too; class 0 is black."""


@dataclass(frozen=True)
class Model:
    """A solver to be tested.

    Attributes:
        folder: names it in the results.
        leg: the leg of the config whose net and images it fits.
        number, site: of the leg that made it, in the relay.
    """

    folder: str
    leg: Leg
    number: int
    site: str
    weights: Mapping[str, Tensor]


def predict_study(
    study: Study, root: Path, devices: Devices, console: Console, save: bool = False, received: int | None = None
) -> dict[str, Any]:
    """Sample-wise Dice of each leg's ``last.ckpt`` on each accessible test set.

    Writes ``results/dice.csv`` (a row a sample and class) and ``results/dice.json``, and with ``save`` the
    predicted masks under ``results/predictions/<leg>/<site>/``.

    Args:
        received: test the model of this leg instead, as it was received.

    Raises:
        UserError: no leg of the study has a checkpoint there; or that leg was not received.
    """
    run = RunPlace(root)
    legs = [leg for leg in study.legs if run.leg(leg.folder).checkpoint.is_file()]
    if not legs and received is None:
        looked = ", ".join(str(run.leg(leg.folder).checkpoint) for leg in study.legs)
        raise UserError(
            f"no checkpoint to test: looked for {looked}", "Train first, check -c and -n, or copy a last.ckpt there."
        )
    sites = Sites(study.legs[0].conf.random_seed, run)
    models = [_received(study, received)] if received else [_checkpoint(leg, run) for leg in legs]
    tables = {
        model.folder: list(_scores(model, study, run, sites, devices, save))
        for model in track(models, "testing", console=console, transient=True)
    }
    write_rows(root / "results" / "dice.csv", chain.from_iterable(tables.values()))
    summary = _summary(study, tables)
    write_text(root / "results" / "dice.json", json.dumps(no_nan(summary), indent=1) + "\n")
    return summary


def _checkpoint(leg: Leg, run: RunPlace) -> Model:
    path = run.leg(leg.folder).checkpoint
    weights, facts = checkpoint.load(path)
    check_fit(leg, facts, path)
    return Model(leg.folder, leg, facts["leg"], leg.task_name, weights)


def _received(study: Study, number: int) -> Model:
    """The model of a received leg, once more held against the ledger and the config."""
    if study.handoff is None:
        raise UserError(f"{study.name} has no current_tasks.handoff", "Give the config of a deployment.")
    desk = Desk(home_of(study.handoff.key), study.handoff.study)
    carry, _ = reopen(desk, number)
    check_fit(study.legs[0], carry.facts, desk.received(number))
    return Model(f"received_leg_{number}", study.legs[0], number, carry.legs[-1]["site"], carry.solver)


def _scores(
    model: Model, study: Study, run: RunPlace, sites: Sites, devices: Devices, save: bool
) -> Iterator[dict[str, Any]]:
    """Rows of one model on all test sets."""
    solver, device = model.leg.net.build(), device_of(devices)
    load_solver(solver, model.weights)
    solver.to(device).eval()
    shared = {"study": study.name, "strategy": study.strategy, "leg": model.number, "trained": model.site}
    for dataset in study.test_sets:
        options = dataset.options
        for found in predictions(solver, sites(dataset), device):
            if save:
                folder = run.root / "results" / "predictions" / model.folder / options.task_name
                save_mask(found.mask, found.sample, folder)
            yield from rows(found, options.names, **shared, site=options.task_name)


def save_mask(mask: Any, sample: Sample, folder: Path) -> None:
    """Class indices in the image's geometry: PNG with a palette for 2D, NIfTI with its affine for volumes."""
    name = "/".join(part for part in sample.id.split("/") if part not in {"", ".", ".."})
    if mask.ndim == 2:
        _save_png(mask, folder / f"{name}.png")
    else:
        _save_nifti(mask, sample.image, folder / f"{name}.nii.gz")


def _save_png(mask: Any, path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(mask, mode="P")
    image.putpalette(PALETTE)
    data = io.BytesIO()
    image.save(data, "PNG")
    write_bytes(path, data.getvalue())


def _save_nifti(mask: Any, like: Path, path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask))
    image.CopyInformation(sitk.ReadImage(str(like)))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".part.{path.name}")
    sitk.WriteImage(image, str(beside))
    beside.replace(path)


def _summary(study: Study, tables: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Means per checkpoint, test set and class, over samples."""
    classes = list(dict.fromkeys(row["class"] for row in chain.from_iterable(tables.values())))
    found = []
    for folder, table in tables.items():
        for site in dict.fromkeys(row["site"] for row in table):
            cell = [row for row in table if row["site"] == site]
            dice = {name: mean(row["value"] for row in cell if row["class"] == name) for name in classes}
            samples = len({row["sample"] for row in cell})
            average = mean(value for name, value in dice.items() if name != classes[0])
            found.append({"checkpoint": folder, "site": site, "samples": samples, "dice": dice, "mean": average})
    return {"study": study.name, "strategy": study.strategy, "rule": RULE, "classes": classes, "rows": found}
