"""Learn from corrections: a short fine-tuning of a site's own model, accepted only if validation does not fall.

Training images use the newest corrected masks; validation and test images keep the stored ones, unless a person says
otherwise. A model that is accepted is adopted (:mod:`relay.adopt`). What happened is written either way, to
``learned/<site>/learned.json`` in the folder of the run. Nothing of this leaves the site.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.adopt import LEARNED, AdoptPaths, origin_of, read, write
from relay.correct.target import Target
from relay.data import SPLITS, SiteData, Spool, prepare
from relay.errors import UserError
from relay.files import read_record, recover_folder, write_text
from relay.leg import Progress, RunPaths, Sites, device_of, digests, is_first, scores, tune, wait_for_all
from relay.predict import Model, models
from relay.results import mean, no_nan
from relay.seeds import derive
from relay.statistics import describe
from relay.trust import digest

if TYPE_CHECKING:
    from torch import nn

    from relay.config import Devices
    from relay.leg import Incoming
    from relay.plan import Leg

NEEDED: dict[str, type] = {"site": str, "accepted": bool, "why": str, "key": str, "start": str, "made": str}
NEEDED |= {"corrected": int, "before": dict, "after": dict}
"""The keys of ``learned.json`` that are used, and their types."""
Scores = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class LearnPaths:
    """The folder of what a site learned from corrections: ``learned/<site>/`` in a run's folder."""

    root: Path

    @classmethod
    def of(cls, run: RunPaths, site: str) -> LearnPaths:
        """The folder of a site in a run."""
        return cls(run.root / "learned" / site)

    @property
    def record(self) -> Path:
        """What happened the last time."""
        return self.root / "learned.json"

    def state(self, key: str) -> Path:
        """What an interrupted fine-tuning resumes from."""
        return self.root / f"phase_1_learn_{key[:12]}.ckpt"

    def read(self) -> dict[str, Any] | None:
        """What happened the last time; None if the site has not learned from corrections yet.

        Raises:
            UserError: the file is damaged.
        """
        return read_record(self.record, NEEDED, f"Remove {self.record} and run relay correct learn again.")


def site_of(target: Target, run: RunPaths, least: int, score_corrected: bool) -> SiteData:
    """The images of a site, with the corrected masks; none is read yet.

    Args:
        least: how many training images must have a corrected mask.
        score_corrected: whether corrected masks also count for validation and test images.

    Raises:
        UserError: there are too few, or no validation images.
        DataError: images are missing, have moved to another split or have changed since the leg used them.
    """
    leg, name = target.leg, target.leg.task_name
    spool = Spool(run.root / "spool")
    site = prepare(target.corrected, leg.conf.random_seed, spool, score_corrected=score_corrected)
    Sites(leg.conf.random_seed, run).check_split(site)
    many = len({sample.corrected for sample in site.split.train} - {None})
    if many < least:
        lower = ", or lower --min-samples" if many else ""
        raise UserError(
            f"{many} training images of {name} have a corrected mask; at least {least} are needed",
            f"Correct more of them: relay correct list shows which first{lower}.",
        )
    if not site.split.val:
        raise UserError(
            f"{name} has no validation images, so nothing can show whether learning from corrections helps",
            "Raise val_fraction in the config, and train under a new note (-n).",
        )
    files = digests.digests([sample for part in SPLITS for sample in site.split[part]])
    digests.check(run.leg(leg.folder), {name: files})
    return site


def learn(
    study: str,
    target: Target,
    start: Model,
    incoming: Incoming,
    site: SiteData,
    run: RunPaths,
    devices: Devices,
    progress: Progress,
) -> dict[str, Any]:
    """Fine-tune a site's model on its training images with their corrected masks, and adopt the result if its score on
    the validation images does not fall. Doing it again with the same corrections changes nothing; after an
    interruption, it resumes.

    Args:
        study: its name, for the scores.
        start: the model to fine-tune: a single net.
        incoming: the newest handover.
        site: as of :func:`site_of`.

    Returns:
        The content of ``learned.json``: ``accepted``, ``why``; ``before`` and ``after``, the intervals of the scores on
        the validation images as :func:`relay.statistics.describe` gives them; ``corrected``, how many training images
        have a corrected mask; ``versions`` of these masks; digests of the models (``start``, ``made``).

    Raises:
        RelayError: the fine-tuning failed, or was interrupted.
    """
    leg, paths = target.leg, LearnPaths.of(run, target.leg.task_name)
    begun, versions = start.digest, _versions(target, site)
    key = digest(json.dumps([leg.scientific(), versions], sort_keys=True, default=str).encode())
    if done := _done(paths, AdoptPaths.of(run, leg.task_name), key, begun):
        if is_first():
            write_text(paths.record, _text(done))
        return done
    net, device = start.built(), device_of(devices)
    before = scores(net, site, [site.val], device)
    state = paths.state(digest(f"{key} {begun}".encode()))
    with progress.stage("learning from corrections", training=True):
        step = tune(leg, net, site, state, run.curves(f"learn_{leg.task_name}"), devices, progress, better=False)
    after = scores(net, site, [site.val], device)
    accepted, why = judged(before, after, leg)
    record: dict[str, Any] = {"format": 1, "site": leg.task_name, "accepted": accepted, "why": why, "step": step}
    record |= {"when": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    record |= {"corrected": len(versions["train"]), "versions": versions, "key": key, "start": begun}
    seed = derive(leg.conf.random_seed, leg.task_name, "learn")
    record |= no_nan({"before": describe(before, seed), "after": describe(after, seed)})
    record["made"] = models.digest_of(net.state_dict()) if accepted else ""
    if is_first():
        if accepted:
            with progress.stage("testing"):
                _adopt(study, leg, incoming, net.to(device).eval(), record, site, run)
        write_text(paths.record, _text(record))
        for left in paths.root.glob("phase_1_learn_*.ckpt"):
            left.unlink()
    wait_for_all()
    return record


def judged(before: Scores, after: Scores, leg: Leg) -> tuple[bool, str]:
    """Whether a model is accepted, and why, from the patient and score of each validation image before and after."""
    task = leg.data.does
    was, now = (mean(score for _, score in found) for found in (before, after))
    if math.isnan(was) or math.isnan(now):
        return False, f"no {task.score_name} can be measured on the {len(before)} validation images"
    told = f"the {task.score_name} on {len(before)} validation images was {was:.4f} before, and is {now:.4f} after"
    return task.gain(now, was) >= 0, told


def _adopt(
    study: str, leg: Leg, incoming: Incoming, net: nn.Module, record: Mapping[str, Any], site: SiteData, run: RunPaths
) -> None:
    why = f"it has learned from {record['corrected']} corrected masks: {record['why']}"
    choice: dict[str, Any] = {"site": leg.task_name, "model": LEARNED, "why": why, "tuned_step": record["step"]}
    choice |= {"from": origin_of(leg, incoming), "handover": incoming.digest, "learned": dict(record)}
    choice["candidates"] = {"before": record["before"], LEARNED: record["after"]}
    write(study, leg, incoming, net, choice, site, AdoptPaths.of(run, leg.task_name))


def _done(paths: LearnPaths, adopted: AdoptPaths, key: str, start: str) -> dict[str, Any] | None:
    """What happened with these corrections before, from this model or ending in it. A process that is killed after it
    has adopted the model may not have written ``learned.json``."""
    recover_folder(adopted.root)
    found = [paths.read(), (read(adopted) or {}).get("learned")]
    return next((r for r in found if r and r["key"] == key and start in (r["start"], r["made"])), None)


def _versions(target: Target, site: SiteData) -> dict[str, dict[str, list[Any]]]:
    """The corrected masks that are used, split by split: for each image, the version and its digest."""
    used: dict[str, dict[str, list[Any]]] = {}
    for part in SPLITS:
        volumes = {sample.corrected for sample in site.split[part] if sample.corrected}
        newest = [target.store.newest(name) for name, image in target.images.items()]
        there = [each for each in newest if each and target.store.path(each) in volumes]
        used[part] = {each.image: [each.version, each.sha256] for each in there}
    return used


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(dict(record), indent=1) + "\n"
