"""One leg, from what the previous site handed over to what the next one gets."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import relay
from relay.config.devices import Devices
from relay.data import SplitName
from relay.data.problems import refuse
from relay.data.site import SiteData, prepare
from relay.errors import CarryError
from relay.files import write_text
from relay.handoff import Carry, receive, send
from relay.leg import checkpoint
from relay.leg.evaluate import predictions, rows
from relay.leg.fit import fit, steps_of
from relay.leg.learner import Learner
from relay.leg.place import LegPlace, RunPlace
from relay.leg.predict import batches, scale
from relay.leg.processes import is_first, wait_for_all
from relay.leg.progress import Progress
from relay.leg.watch import KeepState, ShowProgress, StopAtOnce, StopOnNonFinite
from relay.plan import Leg, Study
from relay.results import write_rows
from relay.seeds import derive


class Sites:
    """The data of each site, looked up and decoded once for all legs of a run.

    Who is in which split is recorded, and may not change in the run once a state has been saved: an
    image that was trained on must never be tested on.
    """

    def __init__(self, seed: int, run: RunPlace) -> None:
        self._seed, self._run = seed, run
        self._made: dict[int, SiteData] = {}

    def __call__(self, dataset: Any, train: bool = False) -> SiteData:
        """A data set's site.

        Raises:
            DataError: a split that is needed (test; with ``train`` also train) is empty or not whole, or the
                data set, or what deals it out, is not what it was when the run recorded its split.
        """
        key = dataset.options.task_id
        if key not in self._made:
            splits: tuple[SplitName, ...] = ("train", "test") if train else ("test",)
            site = prepare(dataset, self._seed, self._run.root / "spool", splits=splits)
            self._check_split(site)
            self._made[key] = site
        return self._made[key]

    def _check_split(self, site: SiteData) -> None:
        path, now = self._run.split(site.dataset.options.task_name), site.split.to_json()
        begun = any(self._run.root.glob("checkpoints/*/*.ckpt"))  # before that, images may still be mended or removed
        if not (begun and path.is_file()):
            if is_first():
                write_text(path, json.dumps(now, indent=1) + "\n")
            return
        then = json.loads(path.read_text())
        moved = sorted({name for part in now for name in set(now[part]) ^ set(then.get(part, []))})
        refuse(
            moved,
            f"{site.dataset}: images that are new, gone or in another split than {path} says",
            "Restore the data set and the options that deal it out (seed, fractions, regular expressions), or use a "
            "new note (-n).",
        )


def planned_steps(leg: Leg, sites: Sites, devices: Devices) -> int:
    """Optimiser steps of a leg's budget; reads the names of its images, not the images."""
    return steps_of(leg, sum(len(sites(d, train=True).split.train) for d in leg.pool), devices.world_size)


def run_leg(leg: Leg, study: Study, sites: Sites, run: RunPlace, devices: Devices, progress: Progress) -> None:
    """Receive, train every phase, test on all accessible test sets, write the checkpoint and the carry.

    Goes on where an interrupted leg was left. A leg that is finished is the caller's to skip.

    Raises:
        RelayError: see the sub-classes; what was there before is still there.
    """
    began = time.monotonic()
    place = run.leg(leg.folder)
    start = run.start(leg.start)
    incoming = _received(leg, start) if start else None
    record: dict[str, Any] = {"config": leg.scientific(), "start": digest(start)}
    pool = [sites(dataset, train=True) for dataset in leg.pool]
    for dataset in study.test_sets:
        len(sites(dataset).test)  # read now: a damaged test image is to stop the leg before its training, not after
    if is_first():
        place.write_record(state="started", **record)
    device = _train(leg, incoming, pool, place, run, devices, progress)
    if is_first():
        facts = _facts(leg, pool, incoming)
        solver = leg.strategy.solver
        write_rows(place.scores, _scores(leg, study, _number(leg, incoming), sites, device))
        checkpoint.save(place.checkpoint, solver.state_dict(), facts)
        send(Carry(solver.state_dict(), leg.strategy.memory(), facts), place.carry)
        record |= {"seconds": round(time.monotonic() - began, 1), "versions": _versions()}
        place.write_record(state="finished", **record)
        for state in place.root.glob("phase_*.ckpt"):
            state.unlink()
    wait_for_all()


def device_of(devices: Devices) -> torch.device:
    """The device that this process computes on outside a fit."""
    return torch.device("cuda", devices.devices[0]) if isinstance(devices.devices, list) else torch.device("cpu")


def memory_format(leg: Leg) -> torch.memory_format:
    """Channels last in 2D, as the batches come: a fifth faster on the CPU."""
    return torch.channels_last if getattr(leg.net.options, "spatial_dims", 2) == 2 else torch.preserve_format


def digest(carry: Path | None) -> str | None:
    """The SHA-256 of a carry's head, which holds those of its weights; None for no carry.

    Raises:
        CarryError: there is none.
    """
    if carry is None:
        return None
    try:
        return hashlib.sha256((carry / "carry.json").read_bytes()).hexdigest()
    except OSError as error:
        raise CarryError(f"no carry in {carry}: {error.strerror}", "Run the leg before this one first.") from error


def _received(leg: Leg, start: Path) -> Carry:
    """The carry, checked against what this config reads."""
    carry = receive(start)
    check_fit(leg, carry.facts, start)
    return carry


def check_fit(leg: Leg, facts: Mapping[str, Any], source: Path) -> None:
    """Whether weights were trained for the images and classes of this config, going by the facts about them.

    Raises:
        CarryError: naming what differs.
    """
    said = facts.get("data")
    there = said if isinstance(said, Mapping) else {}
    wrong = [
        f"{key} is {there.get(key)!r} there, {value!r} here"
        for key, value in _reads(leg).items()
        if there.get(key) != value
    ]
    if wrong:
        raise CarryError(
            f"{source} does not fit this config: " + "; ".join(wrong),
            "Use the config that it was trained with: the same class names, channels and out_range.",
        )


def _reads(leg: Leg) -> dict[str, Any]:
    """What the solver expects of an image and says about it."""
    data = leg.data
    return {"classes": data.names, "channels": data.channels, "out_range": list(data.out_range)}


def _train(
    leg: Leg,
    incoming: Carry | None,
    sites: Sequence[SiteData],
    place: LegPlace,
    run: RunPlace,
    devices: Devices,
    progress: Progress,
) -> torch.device:
    """Fit all phases and finish; returns the device the solver is on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(leg.conf.random_seed, "solver"))
        solver = leg.net.build().to(memory_format=memory_format(leg))
    criterion = leg.loss.build(leg.data.num_classes)
    strategy, curves = leg.strategy, run.root / "tensorboard" / leg.folder
    strategy.setup(solver, criterion)
    strategy.receive(incoming)
    samples = sum(len(site.train) for site in sites)
    learner: Learner | None = None
    for number, phase in enumerate(strategy.phases(), 1):
        state = place.phase(number, phase.name)
        steps = steps_of(leg, samples, devices.world_size, phase.share)
        learner = Learner(leg, phase, sites, steps, companions=(criterion,))
        watch = [
            StopAtOnce(),
            ShowProgress(progress),
            StopOnNonFinite(leg.train.log_every_n_steps, state),
            *phase.callbacks,
            KeepState(state, leg.train.save_every_n_seconds),
        ]
        fit(learner, state, curves, devices, watch)
    assert learner is not None
    device = device_of(devices)
    if is_first():
        solver.to(device, torch.float32).eval()  # also after a fit in 64 bits: what travels has 32
        strategy.finish(samples, lambda: _images(leg, sites, device))
        solver.eval()
    return device


def _images(leg: Leg, sites: Sequence[SiteData], device: torch.device) -> Iterator[Tensor]:
    for site in sites:
        for batch in batches(site.train):
            yield scale(batch["image"].to(device), leg.data.out_range)


def _scores(leg: Leg, study: Study, number: int, sites: Sites, device: torch.device) -> Iterator[dict[str, Any]]:
    """A row for every class of every sample of every accessible test set."""
    for dataset in study.test_sets:
        where = {
            "study": study.name,
            "strategy": study.strategy,
            "leg": number,
            "trained": leg.task_name,
            "site": dataset.options.task_name,
        }
        for found in predictions(leg.strategy.solver, sites(dataset), device):
            yield from rows(found, dataset.options.names, **where)


def _number(leg: Leg, incoming: Carry | None) -> int:
    """The leg's place in the relay, which a deployment of one leg learns from what it received."""
    return len(incoming.legs) + 1 if incoming else leg.number


def _facts(leg: Leg, sites: Sequence[SiteData], incoming: Carry | None) -> dict[str, Any]:
    """What the next site must know of the weights, and what each leg says of itself."""
    own = {
        "leg": _number(leg, incoming),
        "site": leg.task_name,
        "strategy": leg.conf.strategy.name,
        "train_samples": sum(len(site.train) for site in sites),
    }
    earlier = incoming.legs if incoming else []
    kwargs = {
        key: value for key, value in leg.conf.model.kwargs.items() if key != "pretrained"
    }  # a path of this machine
    model = {"name": leg.conf.model.name, "kwargs": kwargs}
    return {"model": model, "data": _reads(leg), "legs": [*earlier, own]}


def _versions() -> dict[str, str]:
    return {"relay": relay.__version__, "torch": torch.__version__, "python": platform.python_version()}
