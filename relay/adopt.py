"""Adopt: after the last leg, choose the model that a site uses for its own patients.

The candidates are what the relay hands to every site (the generalist, the vote, the site's own expert), and the
generalist fine-tuned at home. Only validation images decide; test images are scored afterwards, with the chosen model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from relay import tensorfile
from relay.bundle import measure
from relay.config import Devices
from relay.data import SiteData
from relay.files import damaged, read_json, write_bytes, write_text
from relay.handover import Handover
from relay.leg import Progress, candidates, device_of, predictions, rows, scores, tune
from relay.plan import Leg
from relay.results import mean, no_nan, write_rows
from relay.seeds import derive
from relay.statistics import describe

ORDER = ("expert", "tuned", "generalist", "vote")
"""Of two candidates that score alike, the earlier one is adopted: the one that fits the site's own graders."""


@dataclass(frozen=True)
class AdoptPaths:
    """The folder of what a site adopted: ``adopted/<site>/``."""

    root: Path

    @property
    def record(self) -> Path:
        """The choice and its reasons."""
        return self.root / "adopted.json"

    @property
    def tuned(self) -> Path:
        """The weights of the fine-tuned generalist; absent if it was not adopted."""
        return self.root / "tuned.safetensors"

    @property
    def scores(self) -> Path:
        """The scores of the adopted model on the site's own test images."""
        return self.root / "scores.csv"

    @property
    def again(self) -> str:
        """What to do if a file is damaged."""
        return f"Remove {self.root} and run relay adopt again."


def adopt(
    leg: Leg,
    handover: Handover,
    digest: str,
    site: SiteData,
    paths: AdoptPaths,
    curves: Path,
    devices: Devices,
    progress: Progress,
) -> dict[str, Any]:
    """Choose a site's own model, and write the choice.

    Args:
        leg: of the site: how to fine-tune.
        handover: of the last leg; ``digest`` identifies it.
        site: with its validation images.
        curves: a TensorBoard folder for the fine-tuning.

    Returns:
        The content of ``adopted.json``: ``model``, ``why``, and ``candidates``: the interval of each one's mean Dice on
        the validation images, as :func:`relay.statistics.describe` gives it.

    Without validation images, nothing is fine-tuned, and the first of :data:`ORDER` is adopted.

    Raises:
        HandoverError: the handover does not match the leg's config.
    """
    name, device, step = str(site.dataset.options.task_name), device_of(devices), 0
    models: dict[str, nn.Module] = dict(candidates(leg, handover, name).items())
    found = {kind: scores(model, site, [site.val], device) for kind, model in models.items()}
    if site.split.val:
        net = candidates(leg, handover, "")["generalist"].to(device)
        state, before = paths.root / "phase_1_adopt.ckpt", mean(dice for _, dice in found["generalist"])
        with progress.stage(f"fine-tuning at {name}", training=True):
            step = tune(leg, net, before, site, state, curves, devices, progress)
        if step:  # else it is the generalist
            models["tuned"], found["tuned"] = net, scores(net, site, [site.val], device)
    chosen, why = choose(found)
    seed = derive(leg.conf.random_seed, name, "adopt")
    tables = {kind: describe(values, seed) for kind, values in found.items()}
    record = {"site": name, "model": chosen, "why": why, "tuned_step": step, "handover": digest}
    record["candidates"] = tables
    _write(leg, site, models[chosen], record, len(handover.legs), paths, device)
    for kept in paths.root.glob("phase_1_adopt*.ckpt"):
        kept.unlink()
    return record


def choose(found: Mapping[str, Sequence[tuple[str, float]]]) -> tuple[str, str]:
    """The candidate to adopt, and why.

    Args:
        found: for each candidate, the patient and the Dice of each validation image.
    """
    kinds = [kind for kind in ORDER if kind in found]
    if not found[kinds[0]]:
        return kinds[0], "there are no validation images to compare models on"
    means = {kind: mean(dice for _, dice in found[kind]) for kind in kinds}
    best = max(kinds, key=lambda kind: means[kind])  # of equal ones, the first
    patients = len({patient for patient, _ in found[best]})
    return best, f"it has the best mean Dice on {len(found[best])} validation images of {patients} patients"


def _write(
    leg: Leg, site: SiteData, model: nn.Module, record: dict[str, Any], number: int, paths: AdoptPaths, device: Any
) -> None:
    """Write the choice, the weights if they were fine-tuned, and the scores on the test images, the choice last."""
    from safetensors.torch import save

    paths.tuned.unlink(missing_ok=True)
    if record["model"] == "tuned":
        weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
        write_bytes(paths.tuned, save(weights))
        record["sha256"] = measure(paths.tuned).sha256
    name, options = record["site"], site.dataset.options
    where = {"study": "", "strategy": leg.conf.strategy.name, "leg": number, "trained": name, "site": name}
    tested = predictions(model.to(device).eval(), site, device)
    write_rows(paths.scores, (row for one in tested for row in rows(one, options.names, **where, model="adopted")))
    write_text(paths.record, json.dumps(no_nan(record), indent=1) + "\n")


def read(paths: AdoptPaths) -> dict[str, Any] | None:
    """What a site adopted; None if it has not chosen.

    Raises:
        UserError: the file is damaged.
    """
    try:
        record = read_json(paths.record, paths.again)
    except FileNotFoundError:
        return None
    if record.get("model") not in ORDER or not isinstance(record.get("site"), str):
        raise damaged(paths.record, "it names no model and site", paths.again)
    return dict(record)


def adopted(leg: Leg, handover: Handover, paths: AdoptPaths) -> nn.Module:
    """The model that a site adopted, on the CPU.

    Raises:
        UserError: it has adopted none, or the file is damaged.
        HandoverError: the handover does not match the leg's config, or no longer has the adopted model.
    """
    record = read(paths)
    assert record is not None
    if record["model"] != "tuned":
        return candidates(leg, handover, record["site"])[record["model"]]
    net = leg.net.build()
    if not paths.tuned.is_file() or measure(paths.tuned).sha256 != record.get("sha256"):
        raise damaged(paths.tuned, "it is not what relay adopt wrote", paths.again)
    net.load_state_dict(tensorfile.load(paths.tuned))
    return net
