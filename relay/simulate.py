"""Run a config: all sites one after another on this computer, or the single leg of a deployment.

Each leg receives what the previous leg sent, through the same files as between two hospitals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from relay.adopt import AdoptPaths, adopt, chosen_before, read, score_rows
from relay.config import Devices, dump
from relay.files import write_text
from relay.leg import (
    Incoming,
    Known,
    LegPaths,
    Needs,
    Progress,
    RunPaths,
    Sites,
    Trained,
    Transport,
    digests,
    doubts,
    full_check,
    guarantee,
    handover_writer,
    is_first,
    needs,
    planned_steps,
    run_leg,
    told,
    transport_of,
    tuning_steps,
)
from relay.measures import ELSEWHERE, measured
from relay.plan import Leg, Study
from relay.results import forgetting, matrix, mean, no_nan, of_relay, own_legs, write_rows
from relay.tasks import Task

MANY = 200
"""Tests of a model on a site beyond which a run says how to do with fewer."""


class Simulation:
    """Runs a study through its legs.

    Args:
        root: ``exps/<config>/<note>``.
        transport: how its legs are handed over; by default, made from the study.
        known: what other runs have learned about the same sites.
    """

    def __init__(
        self,
        study: Study,
        root: Path,
        devices: Devices | None = None,
        transport: Transport | None = None,
        known: Known | None = None,
    ) -> None:
        self.study, self.devices = study, devices or Devices()
        self.run_paths = RunPaths(root)
        several = len(study.test_sets) > 1
        self.sites = Sites(study.legs[0].conf.random_seed, self.run_paths, known, several)
        self.transport = transport or transport_of(study, self.run_paths)

    @property
    def steps(self) -> int:
        """Optimiser steps of all legs, for a progress bar.

        Raises:
            DataError: data sets are incomplete, or a split that is needed is empty.
        """
        self.sites.look(self.study)
        legs = sum(planned_steps(leg, self.sites, self.devices) for leg in self.study.legs)
        return legs + sum(self._tuning_steps(leg) for leg in adopting(self.study))

    def run(self, progress: Progress) -> dict[str, Any]:
        """Run all unfinished legs; return the summary that is also in ``results/summary.json``.

        Raises:
            ChangedConfigError: a leg exists that was made with another config.
            RelayError: a leg failed for another reason.
        """
        self.begin(progress)
        for leg in self.study.legs:
            self._leg(leg, progress)
        return self.conclude(progress)

    def conclude(self, progress: Progress) -> dict[str, Any]:
        """After the last leg, let the sites adopt their models; return the summary."""
        for leg in adopting(self.study):
            self.adopt(leg, progress)
        return summarise(self.study, self.run_paths) if is_first() else {}

    def begin(self, progress: Progress) -> None:
        """Before any leg, check that each can be run, read the images, and keep the config.

        Raises:
            ChangedConfigError: a leg exists that was made with another config.
            UserError: an image or an option can't be used.
        """
        for leg in self.study.legs:
            handover_writer.check(leg)
            guarantee.check(leg, self.devices)
            self.run_paths.leg(leg.folder).check(leg.scientific())
        made, needed = self.study.tests_made(), replace(self.study, tests="needed").tests_made()
        if made > MANY and needed < made:
            progress.say(
                f"The models of {len(self.study.legs)} legs are tested on {made} test sets in all; "
                f"current_tasks.tests=needed makes {needed} of these tests, and leaves out forgetting"
            )
        with progress.stage("reading and checking images"):
            self._check_data(progress)
        if is_first():
            self._write_configs()

    def _leg(self, leg: Leg, progress: Progress) -> None:
        place_in = f"leg {leg.number}/{len(self.study.legs)} · " if len(self.study.legs) > 1 else ""
        title = f"{self.study.strategy} · {place_in}{leg.task_name}"
        steps = planned_steps(leg, self.sites, self.devices)
        paths = self.run_paths.leg(leg.folder)
        paths.check(leg.scientific(), self.transport.start(leg))
        trains = not paths.finished
        if trains:
            progress.leg(title, steps)
            self.train(leg, self.receive(leg, progress), progress)
        else:
            progress.skip(title, steps)
        self.send(leg, progress)
        if trains and is_first():  # the record was written before the end of the leg was measured
            paths.write_record(**paths.record() | {"spent": told(progress.spent)})
        self.sites.rest()
        progress.finish_leg()

    def receive(self, leg: Leg, progress: Progress) -> Incoming | None:
        """What a leg starts from, verified and past the acceptance check; None for nothing.

        Raises:
            RelayError: it is refused, or is another one than the leg began with.
        """
        with progress.stage("receiving"):
            incoming = self.transport.receive(leg, full_check(leg, self.sites, self.devices), progress.say)
        self.run_paths.leg(leg.folder).check(leg.scientific(), incoming.digest if incoming else None)
        return incoming

    def train(self, leg: Leg, incoming: Incoming | None, progress: Progress, trained: Trained | None = None) -> None:
        """Run a leg from what it received to its handover; ``trained`` and errors as of :func:`relay.leg.run_leg`."""
        weigh = full_check(leg, self.sites, self.devices)
        policy, check = self.transport.policy, partial(self.transport.check, leg, weigh=weigh)
        costs, charge = partial(self.transport.costs, leg), partial(self.transport.charge, leg)
        given = (leg, self.study, self.sites, self.run_paths, self.devices, progress, incoming, policy, check)
        run_leg(*given, costs, charge, trained)

    def send(self, leg: Leg, progress: Progress) -> None:
        """Hand over a finished leg's result. Doing it again changes nothing."""
        with progress.stage("signing and sealing"):
            self.transport.send(leg, progress.say)

    def _tuning_steps(self, leg: Leg) -> int:
        split = self.sites(leg.pool[0], train=True).split
        return tuning_steps(leg, len(split.train), self.devices) if split.val else 0

    def read_for_adoption(self, legs: Sequence[Leg], say: Callable[[str], None]) -> int:
        """Read the images that the sites of these legs need to adopt a model; return all their optimiser steps.

        Raises:
            DataError: it lists the problems of all sites, or images have changed since a leg used them.
        """
        needed: Needs = [(leg.pool[0], ("train", "val", "test")) for leg in legs]
        for leg in legs:
            self.sites(leg.pool[0], train=True)
            digests.check(self.run_paths.leg(leg.folder), self.sites.files(needed))
        self.sites.read(needed, say)
        return sum(self._tuning_steps(leg) for leg in legs)

    def adopt(self, leg: Leg, progress: Progress) -> dict[str, Any] | None:
        """Choose the model for the own patients of a leg's site, unless it has chosen from the same handover before.

        Returns:
            The choice: see :func:`relay.adopt.adopt`; None if nothing was handed over.
        """
        incoming = self.transport.newest(leg)
        if incoming is None:
            return None
        steps = self._tuning_steps(leg)
        if known := chosen_before(leg, incoming, self.run_paths):
            progress.skip(f"{leg.task_name}: adopted {known['model']}", steps)
            return known
        progress.leg(f"{leg.task_name} · adopting a model", steps)
        site = self.sites(leg.pool[0], train=True)
        found = adopt(self.study.name, leg, incoming, site, self.run_paths, self.devices, progress)
        progress.finish_leg()
        return found

    def _check_data(self, progress: Progress) -> None:
        """Before any training, check that the images have not changed since the legs began and that all the needed ones
        can be read, and show any warnings."""
        self.sites.look(self.study)
        for leg in self.study.legs:
            files = self.sites.files(needs([leg], self.study))
            digests.keep(self.run_paths.leg(leg.folder), files, is_first())
        waiting = [leg for leg in self.study.legs if not self.run_paths.leg(leg.folder).finished]
        if waiting:
            needed = needs(waiting, self.study)
            self.sites.read(needed, progress.say)
            if is_first():
                found = doubts.doubts(waiting, needed, self.sites)
                doubts.tell(found, self.run_paths.root / "results", progress.say, self.sites.known.said)

    def _write_configs(self) -> None:
        resolved = {leg.folder: dict(leg.raw) for leg in self.study.legs}
        for name, content in (("given", dict(self.study.given)), ("resolved", resolved)):
            write_text(self.run_paths.root / f"config.{name}.yaml", dump(content))


def summarise(study: Study, run: RunPaths) -> dict[str, Any]:
    """Collect the finished legs' scores in ``results/scores.csv`` and ``results/summary.json``.

    The summary's ``final`` is each site's score at the end: of the last leg's model or, if every leg
    starts from nothing, of the site's own model. ``mean`` is over the sites trained on here, ``forgetting`` as in
    :func:`relay.results.forgetting`, ``relay`` as in :func:`relay.results.of_relay`, ``measures`` as in
    :func:`relay.measures.measured`.

    Raises:
        DataError: a leg's scores are missing or damaged.
    """
    rows = [row for leg in study.legs for row in run.leg(leg.folder).rows()]
    rows += _adopted(study, run)
    write_rows(run.root / "results" / "scores.csv", rows)
    task = study.task
    summary = {"study": study.name, "strategy": study.strategy, "task": task.name, **outcome(rows, study.legs, task)}
    summary["relay"] = _relay(study, run, summary)
    summary["measures"] = measured(rows, sites_of(study.legs), apart(study.legs), type(task))
    if study.mode == "deployment":  # other sites' data are not in this folder
        summary["measures"][ELSEWHERE] = {}
    write_text(run.root / "results" / "summary.json", json.dumps(no_nan(summary), indent=1) + "\n")
    return summary


def _adopted(study: Study, run: RunPaths) -> list[dict[str, Any]]:
    """Scores of the models that sites have adopted, on their own test images."""
    places = [AdoptPaths.of(run, site) for site in dict.fromkeys(leg.task_name for leg in study.legs)]
    return [row for paths in places if (record := read(paths)) for row in score_rows(paths, record)]


def adopting(study: Study) -> list[Leg]:
    """The last leg of each site that adopts a model at the end of a simulation. In a deployment, ``relay adopt`` does
    that."""
    last = {leg.task_name: leg for leg in study.legs if leg.strategy.carries_expert}
    return list(last.values()) if study.mode != "deployment" and len(last) > 1 else []


def outcome(rows: Sequence[Any], legs: Sequence[Leg], task: Task) -> dict[str, Any]:
    """``matrix``, ``final``, ``mean`` and ``forgetting`` of a study's rows."""
    table = matrix(rows)
    trained = [leg.task_name for leg in legs]
    last, alone = table[max(table)], apart(legs)
    own = {leg.task_name: table.get(leg.number, {}).get(leg.task_name, float("nan")) for leg in legs}
    final = own if alone else last
    ends = [final.get(site, float("nan")) for site in own_legs(sites_of(legs))]
    lost = float("nan") if alone else forgetting(table, trained, type(task))
    return {"matrix": table, "final": final, "mean": mean(ends), "forgetting": lost}


def sites_of(legs: Sequence[Leg]) -> list[list[str]]:
    """The sites that each leg trains on: one, or several if they are pooled."""
    return [[str(dataset.options.task_name) for dataset in leg.pool] for leg in legs]


def apart(legs: Sequence[Leg]) -> bool:
    """Whether every leg starts from nothing, so that each site ends with its own model."""
    return not legs[0].strategy.uses_incoming and len(legs) > 1


def _relay(study: Study, run: RunPaths, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The result of :func:`relay.results.of_relay` for all legs here."""
    legs_paths = [run.leg(leg.folder) for leg in study.legs]
    said = of_relay(
        summary["matrix"],
        sites_of(study.legs),
        final=summary["final"] if apart(study.legs) else None,
        carried=beside(legs_paths),
        seconds=sum(paths.record().get("train_seconds", float("nan")) for paths in legs_paths),
        task=type(study.task),
    )
    if study.mode == "deployment":  # the data and memories of other sites are not in this folder
        said |= {"external": {}, "bytes": float("nan")}
    return said


def beside(legs_paths: Sequence[LegPaths]) -> int:
    """Size in bytes of all memories in the last bundle, with their cards, and of all experts: each leg's own, and the
    cumulative memory."""
    files = [file for paths in legs_paths for kind in ("memory.*", "expert.*") for file in paths.handover.glob(kind)]
    return sum(file.stat().st_size for file in [*files, *legs_paths[-1].handover.glob("cumulative.*")])
