"""Adopt: after the last leg, choose the model that a site uses for its own patients.

The candidates are what the relay hands to every site (the generalist, the vote, the site's own expert), and the better
one of expert and generalist, fine-tuned at home. Only validation images decide; test images are scored afterwards, with
the chosen model.

A choice is a folder, ``adopted/<site>/``: ``adopted.json`` (the choice and its reasons), ``scores.csv`` (the scores of
the chosen model on the site's own test images) and, if the chosen model was fine-tuned here, ``tuned.safetensors``.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import tensorfile
from relay.bundle import measure
from relay.errors import DataError
from relay.files import clear, damaged, read_record, recover_folder, replace_folder, write_bytes, write_text
from relay.leg import (
    Progress,
    RunPaths,
    applied,
    candidates_in,
    device_of,
    is_first,
    predictions,
    rows,
    scores,
    tune,
    wait_for_all,
)
from relay.postprocess import steps_of
from relay.results import ADOPTED, EXPERT, GENERALIST, VOTE, mean, no_nan, read_rows, write_rows
from relay.seeds import derive
from relay.statistics import describe
from relay.tasks import Task
from relay.trust import digest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.config import Devices
    from relay.data import SiteData
    from relay.leg import Incoming
    from relay.plan import Leg

TUNED = "tuned"
LEARNED = "learned"
"""Fine-tuned on masks that people have corrected (:mod:`relay.correct`)."""
ORDER = (EXPERT, TUNED, GENERALIST, VOTE)
"""Of two candidates that score alike, the earlier one is adopted: the one that fits the site's own graders."""
NEEDED: dict[str, type] = {"site": str, "model": str, "why": str, "from": str, "handover": str, "sha256": dict}
NEEDED |= {"candidates": dict}
"""The keys of ``adopted.json`` that are used, and their types."""


@dataclass(frozen=True)
class AdoptPaths:
    """The folder of what a site adopted: ``adopted/<site>/`` in a run's folder."""

    root: Path

    @classmethod
    def of(cls, run: RunPaths, site: str) -> AdoptPaths:
        """The folder of a site in a run."""
        return cls(run.root / "adopted" / site)

    @property
    def record(self) -> Path:
        """The choice and its reasons."""
        return self.root / "adopted.json"

    @property
    def tuned(self) -> Path:
        """The weights of the fine-tuned model; absent if it was not adopted."""
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
    study: str, leg: Leg, incoming: Incoming, site: SiteData, run: RunPaths, devices: Devices, progress: Progress
) -> dict[str, Any]:
    """Choose a site's own model, and write the choice.

    Args:
        study: its name, for the scores.
        leg: of the site: how to fine-tune.
        incoming: the handover of the last leg.
        site: with its train, validation and test images.
        run: which saves what an interrupted fine-tuning resumes from, and its curves, in ``adopt_<site>``.

    Returns:
        The content of ``adopted.json``: ``site``, ``model``, ``why``, ``tuned_step`` (0: no better than the model it
        began with, or not fine-tuned), and ``candidates``: the interval of each one's score on the validation
        images, as :func:`relay.statistics.describe` gives it.

    Without validation images, nothing is fine-tuned, and the first of :data:`ORDER` is adopted.

    Raises:
        HandoverError: the handover does not match the leg's config.
        RelayError: the fine-tuning failed, or was interrupted.
    """
    paths, device, handover = AdoptPaths.of(run, leg.task_name), device_of(devices), incoming.handover
    models: dict[str, nn.Module] = dict(candidates_in(leg, handover, leg.task_name).items())
    task = leg.data.does
    found = {kind: scores(model, site, [site.val], device) for kind, model in models.items()}
    step, origin = 0, origin_of(leg, incoming)
    if len(site.val):
        start = task.best((kind for kind in (EXPERT, GENERALIST) if kind in found), lambda kind: _mean(found[kind]))
        net = copy.deepcopy(models[start])
        state, curves = paths.root / f"phase_1_adopt_{origin[:12]}.ckpt", run.curves(f"adopt_{leg.task_name}")
        with progress.stage("fine-tuning", training=True):
            step = tune(leg, net, site, state, curves, devices, progress)
        if step:  # else it is still that model
            models[TUNED], found[TUNED] = net, scores(net, site, [site.val], device)
    chosen, why = choose(found, type(task))
    seed = derive(leg.conf.random_seed, leg.task_name, "adopt")
    record: dict[str, Any] = {"site": leg.task_name, "model": chosen, "why": why, "tuned_step": step, "from": origin}
    record["handover"] = incoming.digest
    record["candidates"] = {kind: describe(values, seed) for kind, values in found.items()}
    if is_first():
        with progress.stage("testing"):
            write(study, leg, incoming, models[chosen].to(device).eval(), record, site, paths)
    wait_for_all()
    return record


def choose(found: Mapping[str, Sequence[tuple[str, float]]], task: type[Task]) -> tuple[str, str]:
    """The candidate to adopt, and why.

    Args:
        found: for each candidate, the patient and the score of each validation image; NaN if it could not be measured.
        task: compares scores.
    """
    kinds = [kind for kind in ORDER if kind in found]
    if not found[kinds[0]]:
        return kinds[0], "there are no validation images to compare models on"
    means = {kind: _mean(found[kind]) for kind in kinds}
    measured = [kind for kind in kinds if not math.isnan(means[kind])]
    if not measured:
        return kinds[0], f"no {task.score_name} can be measured on the {len(found[kinds[0]])} validation images"
    best = task.best(measured, lambda kind: means[kind])  # of equal ones, the first
    patients = len({patient for patient, _ in found[best]})
    return best, f"it has the best {task.score_name} on {len(found[best])} validation images of {patients} patients"


def _mean(found: Sequence[tuple[str, float]]) -> float:
    return mean(score for _, score in found)


def write(
    study: str,
    leg: Leg,
    incoming: Incoming,
    model: nn.Module,
    record: dict[str, Any],
    site: SiteData,
    paths: AdoptPaths,
) -> None:
    """Replace what a site adopted in one step: the record, the weights if they were fine-tuned here, and the scores on
    the test images.

    Args:
        study: its name, for the scores.
        model: in evaluation mode.
        record: the choice; gets the digests of the files.
    """
    from safetensors.torch import save

    new = AdoptPaths(paths.root.with_name(f".{paths.root.name}.new"))
    clear(new.root)
    if record["model"] in (TUNED, LEARNED):
        write_bytes(new.tuned, save({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}))
    where = {"study": study, "strategy": leg.conf.strategy.name, "leg": incoming.handover.legs[-1]["leg"]}
    where |= {"trained": record["site"], "model": ADOPTED, "site": record["site"]}
    how, device = leg.conf.predict, next(model.parameters()).device
    tested = predictions(applied(model, how), site, device, steps=steps_of(how.postprocess))
    write_rows(new.scores, (row for one in tested for row in rows(one, site.dataset.options.does, **where)))
    record["sha256"] = {path.name: measure(path).sha256 for path in (new.tuned, new.scores) if path.is_file()}
    write_text(new.record, json.dumps(no_nan(record), indent=1) + "\n")
    replace_folder(new.root, paths.root)  # and with it, the state that a fine-tuning resumes from


def origin_of(leg: Leg, incoming: Incoming) -> str:
    """Identifies everything that a choice depends on, except the images."""
    return digest(json.dumps([incoming.digest, leg.scientific()], sort_keys=True, default=str).encode())


def chosen_before(leg: Leg, incoming: Incoming, run: RunPaths) -> dict[str, Any] | None:
    """The choice that a leg's site has made from this handover with this config; None if there is none.

    Raises:
        UserError: one of its files is damaged, or missing.
    """
    paths = AdoptPaths.of(run, leg.task_name)
    recover_folder(paths.root)
    record = read(paths)
    if not record or record["from"] != origin_of(leg, incoming):
        return None
    for path in (paths.tuned, paths.scores):
        if path.name in record["sha256"]:
            _check_whole(path, paths, record)
    return record


def read(paths: AdoptPaths) -> dict[str, Any] | None:
    """What a site adopted; None if it has not chosen.

    Raises:
        UserError: the file is damaged.
    """
    record = read_record(paths.record, NEEDED, paths.again)
    if record and record["model"] not in record["candidates"]:
        raise damaged(paths.record, f"it adopts '{record['model']}', which is no candidate", paths.again)
    return record


def tuned_weights(paths: AdoptPaths, record: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a fine-tuned model that was adopted.

    Raises:
        UserError: the file is missing or damaged.
    """
    _check_whole(paths.tuned, paths, record)
    return tensorfile.load(paths.tuned)


def score_rows(paths: AdoptPaths, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores of the adopted model on the site's own test images.

    Raises:
        UserError: the file is missing or damaged.
    """
    _check_whole(paths.scores, paths, record)
    try:
        return read_rows(paths.scores)
    except DataError as error:
        raise DataError(str(error), paths.again) from error


def _check_whole(path: Path, paths: AdoptPaths, record: Mapping[str, Any]) -> None:
    if not path.is_file() or measure(path).sha256 != record["sha256"].get(path.name):
        raise damaged(path, "it is not what relay adopt wrote", paths.again)
