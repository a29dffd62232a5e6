"""One leg, from what the previous site handed over to what the next one receives."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import relay
from relay.bundle import disclosed, measure
from relay.config import Devices
from relay.data import SiteData
from relay.errors import HandoverError
from relay.files import write_text
from relay.handover import Handover
from relay.leg import checkpoint, handover_writer
from relay.leg.acceptance import check_expert, check_guarantee, check_memory, check_outputs, check_samples, check_size
from relay.leg.callbacks import KeepState, ShowProgress, StopAtOnce, StopOnNonFinite, wind_back
from relay.leg.candidates import candidates_in, routing, zero_shot
from relay.leg.choosing import choosing
from relay.leg.device import device_of, memory_format
from relay.leg.evaluate import predictions, rows
from relay.leg.first_legs import FirstLeg, first_leg, plain
from relay.leg.fitting import fit, steps_of
from relay.leg.guarantee import Guarantee, guarantee_of, guarded, units
from relay.leg.inference import applied
from relay.leg.learner import Learner
from relay.leg.own_training import Trained
from relay.leg.paths import LegPaths, RunPaths, watched_in
from relay.leg.precision import precision_of
from relay.leg.private_learner import PrivateLearner
from relay.leg.processes import is_first, wait_for_all
from relay.leg.progress import Progress
from relay.leg.release import Release
from relay.leg.sites import Sites
from relay.leg.spent import TimeSteps, told
from relay.leg.tensorboard import log_predictions
from relay.leg.training import task_of, training_of
from relay.leg.transport import Incoming
from relay.leg.vote import Vote
from relay.leg.watched import ShowValidation
from relay.phase import Phase
from relay.plan import Leg, Study
from relay.postprocess import steps_of as steps_of_masks
from relay.registry import blamed
from relay.results import GENERALIST, VOTE, read_rows, write_rows
from relay.seeds import derive
from relay.trust import Cost, Policy


def planned_steps(leg: Leg, sites: Sites, devices: Devices) -> int:
    """Optimiser steps of a leg's phases; this reads the names of its images, not the images."""
    many = units(leg, [sites(dataset, train=True) for dataset in leg.pool])
    return sum(steps_of(leg, many, devices.world_size, share) for share in leg.strategy.shares)


def run_leg(
    leg: Leg,
    study: Study,
    sites: Sites,
    run: RunPaths,
    devices: Devices,
    progress: Progress,
    incoming: Incoming | None,
    policy: Policy,
    weigh: Callable[[Handover], None],
    costs: Callable[[], Sequence[Cost]] = tuple,
    charge: Callable[[Cost], None] = lambda cost: None,
    trained: Trained | None = None,
) -> None:
    """Train every phase, test on all accessible test sets, write the checkpoint and the handover.

    An interrupted leg resumes. The caller skips a finished leg, and first reads all images that the
    leg needs, so that an unreadable one stops it before training, not after.

    Args:
        incoming: what it starts from, received and verified.
        policy: of the study: which counts may be disclosed, how many samples a site must have.
        weigh: checks the leg's result as its receivers will.
        costs: what trainings with differential privacy have cost the site's patients; ``charge`` records another.
        trained: what the site's own code made in place of the phases that train the model, if it did.

    Raises:
        RelayError: see the subclasses; earlier results are kept.
    """
    began = time.monotonic()
    paths = run.leg(leg.folder)
    start = incoming.digest if incoming else None
    model = model_of(leg)
    precision = precision_of(leg.train.precision, devices, model, paths, progress.say)
    record: dict[str, Any] = {"config": leg.scientific(), "start": start, "precision": precision}
    if leg.own_code:
        record |= {"own_code": leg.own_code, "precision": None}  # not known
    pool = [sites(dataset, train=True) for dataset in leg.pool]
    check_samples(leg, sum(len(site.split.train) for site in pool), policy)
    if is_first():
        paths.write_record(state="started", **record)
    handover = incoming.handover if incoming else None
    arrived = _arrived(leg, handover, pool, devices, progress) if is_first() else []
    ready = time.monotonic()
    first = _first(leg, sites, devices, precision) if handover is None and trained is None else None
    limit = policy.max_training_epsilon
    account = partial(guarantee_of, leg, sites=pool, paths=paths, spent=costs, charge=charge, limit=limit)
    exact = leg.with_train(precision=precision)
    device, guarantee = _train(
        exact, model, handover, pool, paths, run, devices, progress, policy, account, first, trained
    )
    elsewhere = (first.seconds if first else 0.0) + (trained.seconds if trained else 0.0)
    training = time.monotonic() - ready + elsewhere
    if is_first():
        turn, samples = _turn(handover), sum(len(site.train) for site in pool)
        made = handover_writer.handover_of(leg, turn)
        after = handover_writer.as_received(leg, turn, made, handover, disclosed(samples, policy), arrived)
        with progress.stage("checking the handover"):
            weigh(after)
        number = _number(leg, study, handover)
        scored = [*_scores(leg, study, number, sites, device, run.curves(leg.folder), progress)]
        if made.experts and leg is study.legs[-1]:  # in a simulation, only the last has those of all sites
            scored += _of_vote(leg, study, number, after, sites, device, paths, progress)
        write_rows(paths.scores, scored)
        with progress.stage("writing the handover"):
            handover_writer.write(leg, turn, made, pool, read_rows(paths.scores), start, paths, arrived, guarantee)
            kept = {**made.facts, "leg": number, "config": json.loads(json.dumps(record["config"], default=str))}
            checkpoint.save(paths.checkpoint, made.model, kept)
        record["sha256"] = {paths.scores.name: measure(paths.scores).sha256}
        seconds = {"seconds": round(time.monotonic() - began, 1), "train_seconds": round(training, 1)}
        record |= seconds | {"spent": told(progress.spent)}
        record |= {"versions": _versions()} | ({"privacy": guarantee.stated} if guarantee else {})
        paths.write_record(state="finished", **record)
        for state in (*paths.root.glob("phase_*.ckpt"), *paths.root.glob(".phase_*"), *paths.root.glob("noise.key")):
            state.unlink()
    wait_for_all()


def check_input_spec(leg: Leg, facts: Mapping[str, Any], source: Path) -> None:
    """Check, from the facts about them, that weights were trained for the images and classes of this config.

    Raises:
        HandoverError: it lists the differences.
    """
    said = facts.get("data")
    there = said if isinstance(said, Mapping) else {}
    here = handover_writer.input_spec(leg)
    wrong = [
        f"{key} is {there.get(key)!r} there, {here.get(key)!r} here"
        for key in dict.fromkeys([*here, "target_scale"])
        if there.get(key) != here.get(key)
    ]
    if wrong:
        raise HandoverError(
            f"{source} does not match this config: " + "; ".join(wrong),
            "Use the config that it was trained with: the same task, class names, channels, intensity_range, steps and "
            "target_scale.",
        )


def _built(plugin: Any, *given: Any) -> nn.Module:
    """The module of a net or a loss.

    Raises:
        UserError: it is somebody's own, and ``build`` fails or gives something else.
    """
    with blamed(type(plugin).__name__, plugin):
        made = plugin.build(*given)
        if not isinstance(made, nn.Module):
            raise TypeError(f"build gave {type(made).__name__}; it must give a torch.nn.Module")
    return made


def model_of(leg: Leg) -> nn.Module:
    """A leg's net with its initial weights."""
    with torch.random.fork_rng(devices=[]):
        # initial weights have always been derived for the purpose "solver": the same seed gives the same weights
        torch.manual_seed(derive(leg.conf.random_seed, "solver"))
        model = _built(leg.net)
        return model.to(memory_format=memory_format(leg))  # type: ignore[call-overload, no-any-return]


def _train(
    leg: Leg,
    model: nn.Module,
    incoming: Handover | None,
    sites: Sequence[SiteData],
    paths: LegPaths,
    run: RunPaths,
    devices: Devices,
    progress: Progress,
    policy: Policy,
    account: Callable[[Sequence[Phase]], Guarantee | None],
    first: FirstLeg | None = None,
    trained: Trained | None = None,
) -> tuple[torch.device, Guarantee | None]:
    """Fit all phases and finish; return the device the model is on, and what was guaranteed.

    Args:
        account: makes the guarantee from the phases.
        first: where the first phase is shared with other runs, if it is.
        trained: what takes the place of the phases that train the model, if anything does.
    """
    check_size(model, policy)
    check_memory(leg.strategy.kinds, policy)
    check_expert(leg, model, policy)
    check_guarantee(leg, policy)
    criterion = _built(leg.loss, leg.data.outputs)
    strategy, curves = leg.strategy, run.curves(leg.folder)
    device = device_of(devices)
    strategy.setup(model.to(device), criterion, task_of(leg))
    check_outputs(leg, model, sites[0], device)
    strategy.receive(incoming)
    samples = sum(len(site.train) for site in sites)
    many = units(leg, sites)
    training, release = training_of(leg, sites, model, device, disclosed(samples, policy)), Release(leg, sites, device)
    if leg.train.privacy is not None:
        training = guarded(training, release)
    with progress.stage("preparing"):
        strategy.begin(training)
    name = "own_{}" if trained else "{}"  # relay train does not resume what follows the site's own code
    phases = [
        (phase, paths.phase(number, name.format(phase.name))) for number, phase in enumerate(strategy.phases(), 1)
    ]
    shared = first if plain([phase for phase, _ in phases], model) else None
    if shared:
        shared.take(phases[0][1], curves)
    if is_first():
        wind_back(curves, [state for _, state in phases])
    guarantee = account([phase for phase, _ in phases])
    release.guarantee = guarantee
    if devices.num_nodes > 1:
        meeting = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        progress.say(f"waiting for all of {devices.num_nodes} machines at {meeting} …")
    for phase, state in phases:
        if trained is not None and phase.module is model:
            trained.load(model)
            continue
        steps = steps_of(leg, many, devices.world_size, phase.share)
        kind = PrivateLearner if guarantee else Learner
        learner = kind(leg, phase, sites, steps, companions=(criterion,), lap=_lap(leg, incoming))
        learner.guarantee = guarantee
        acting = [
            StopAtOnce(),
            ShowProgress(progress),
            ShowValidation(watched_in(run.root)),
            StopOnNonFinite(leg.train.log_every_n_steps, state),
            *phase.callbacks,
            *(chosen := choosing(leg.train, phase, sites)),
            KeepState(state, leg.train.save_every_n_seconds),
            timed := TimeSteps(),
        ]
        if phase.start is not None:
            phase.module.load_state_dict(phase.start.state_dict())
        with progress.stage(stage := f"training, phase '{phase.name}'", training=True):
            train = partial(fit, learner, state, curves, devices, acting, progress.say)
            shared.fit(train, state, curves) if shared and phase is phases[0][0] else train()
        progress.divide(stage, timed.divided(progress.spent[stage]))
        for best in chosen:
            best.choose(phase.module)
    if is_first():
        model.to(device, torch.float32).eval()  # also after a fit in 64 bits: weights travel in 32
        with progress.stage("making the memory" if strategy.kinds else "finishing"):
            strategy.finish(training)
        model.eval()
    return device, guarantee


def _arrived(
    leg: Leg, handover: Handover | None, pool: list[SiteData], devices: Devices, progress: Progress
) -> list[dict[str, Any]]:
    """What :func:`zero_shot` says of the models that arrived, if they have never seen this site."""
    if leg.train.privacy is not None:  # a score of images that are trained on would leave without noise
        return []
    if handover is None or not handover.experts or leg.task_name in [made["site"] for made in handover.legs]:
        return []
    with progress.stage("scoring what arrived"):
        found = zero_shot(leg, handover, pool, device_of(devices))
    told = ", ".join(f"{row['model']} {row['mean']:.3f}" for row in found)
    name, images = leg.data.does.score_name, found[0]["images"]
    progress.say(f"{name} of what arrived, on {images} images here that no model has seen: {told}")
    return found


def _first(leg: Leg, sites: Sites, devices: Devices, precision: object) -> FirstLeg | None:
    """Where a leg that starts from nothing is shared with other runs, if it is."""
    files = sites.files([(dataset, ("train", "val")) for dataset in leg.pool])
    splits = [sites(dataset).split.to_json() for dataset in leg.pool]
    return first_leg(sites.known.first_legs, leg, files, splits, devices, {**_versions(), "precision": precision})


def _scores(
    leg: Leg, study: Study, number: int, sites: Sites, device: torch.device, curves: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    """A row for every class of every sample of the test sets that the leg is tested on."""
    for dataset in study.tested(leg):
        where = {
            "study": study.name,
            "strategy": study.strategy,
            "leg": number,
            "trained": leg.task_name,
            "model": GENERALIST,
            "site": dataset.options.task_name,
        }
        model, steps = applied(leg.strategy.model, leg.conf.predict), steps_of_masks(leg.conf.predict.postprocess)
        tested = predictions(model, sites(dataset), device, steps=steps)
        tested = progress.through(tested, f"testing on {where['site']}", len(sites(dataset).test))
        for found in log_predictions(tested, sites(dataset), curves, number):
            yield from rows(found, dataset.options.does, **where)
        sites(dataset).rest()


def _of_vote(
    leg: Leg,
    study: Study,
    number: int,
    after: Handover,
    sites: Sites,
    device: torch.device,
    paths: LegPaths,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Rows like those of :func:`_scores` for the vote of all experts so far; which expert each image is routed to goes
    to ``routing.json``."""
    vote = candidates_in(leg, after, leg.task_name)[VOTE].to(device).eval()
    assert isinstance(vote, Vote)
    routed = {}
    for dataset in study.test_sets:
        site, name = sites(dataset), str(dataset.options.task_name)
        where = {"study": study.name, "strategy": study.strategy, "leg": number, "trained": leg.task_name, "site": name}
        model, steps = applied(vote, leg.conf.predict), steps_of_masks(leg.conf.predict.postprocess)
        tested = predictions(model, site, device, steps=steps)
        tested = progress.through(tested, f"testing the vote on {name}", len(site.test))
        for found in tested:
            yield from rows(found, dataset.options.does, **where, model=VOTE)
        routed[name] = routing(vote, site, device)
        site.rest()
    write_text(paths.routing, json.dumps(routed, indent=1) + "\n")


def _turn(handover: Handover | None) -> int:
    """The leg's number in the relay, which follows those received."""
    return len(handover.legs) + 1 if handover else 1


def _lap(leg: Leg, handover: Handover | None) -> int:
    """Which of its site's turns the leg is, from 1."""
    return 1 + [made["site"] for made in (handover.legs if handover else [])].count(leg.task_name)


def _number(leg: Leg, study: Study, handover: Handover | None) -> int:
    """The leg's number in the scores; in a simulation, where paths may branch, its position in the config."""
    return _turn(handover) if study.mode == "deployment" else leg.number


def _versions() -> dict[str, str]:
    return {"relay": relay.__version__, "torch": torch.__version__, "python": platform.python_version()}
