"""Audit what a leg would tell of patients, before it leaves: ``relay audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, configs, options
from relay.cli.top import command, hold, log_to, resumes
from relay.errors import ChangedConfigError, RelayError, UserError, nearest, some, typed

if TYPE_CHECKING:
    from relay.bundle import PrivacyAudit
    from relay.config import Devices
    from relay.data import SiteData
    from relay.leg import RunPaths
    from relay.plan import Leg, Study


@command
def audit(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="A run's folder, exps/<config>/<note>, instead of -c and -n. key=value overrides the config.",
            metavar="[RUN] [KEY=VALUE]...",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("-c", "--config", help="Name under configs/, or a .yaml file.", callback=options.value),
    ] = None,
    note: options.Note = "run",
    gpus: options.Gpus = None,
    leg: Annotated[
        str | None, typer.Option("--leg", help="The leg's folder, such as task_1. Default: the last finished leg.")
    ] = None,
    shadows: Annotated[
        int, typer.Option("--shadows", help="How many shadow models, an even number; 0 for none.", min=0, max=256)
    ] = 4,
    budget: Annotated[
        float, typer.Option("--budget", help="Minutes for all shadow models together.", min=0.01, max=10000)
    ] = 0.6,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Audit models and memories that leak, or don't, and show what it says.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="With --selftest: how many of each.", min=1, max=1000)] = 3,
    verbose: options.Verbose = False,
) -> None:
    """Attack what a finished leg would hand over, and say whether its patients can be told from others.

    Nothing leaves: the page with the patients' names stays here; relay send shows the verdict.
    """
    if selftest:
        if words or config:
            raise UserError(
                "--selftest audits models of its own, not a run", "Leave out the run, or leave out --selftest."
            )
        _selftest(seeds)
        return
    resumes()
    if shadows % 2:
        raise UserError(f"--shadows {shadows} is odd", f"Two share the patients: --shadows {shadows + 1}.")
    run, overrides = _run(words or [], config)
    study, root, devices = configs.study_of(config or str(run), note, gpus, overrides, train=False)
    from rich.console import Console

    from relay.leg import Progress, RunPaths, device_of, progress_of
    from relay.privacy import (
        Effort,
        arrived_at,
        leaving_of,
        run_audit,
        subjects_of,
        write_page,
        write_record,
        write_scores,
    )

    paths = RunPaths(run.parent if run else root)
    chosen = _leg(study, paths, leg)
    hold(paths.alone())
    log_to(paths.root / "logs" / "audit.log", verbose)
    place = paths.leg(chosen.folder)
    _as_trained(chosen, paths)
    with Progress(console=Console(), file=progress_of(paths.root)) as progress:
        with progress.stage("reading images"):
            sites, steps = _data(study, chosen, paths, devices)
            subjects = subjects_of(sites)
        left = leaving_of(chosen, place, lambda start: arrived_at(start, study, paths), steps)
        progress.say(
            f"{place.root}: {int(subjects.member.sum())} patients trained on, {int((~subjects.member).sum())} others"
        )
        found = run_audit(
            chosen, subjects, left, Effort(shadows, budget), place.root / "audit", device_of(devices), progress
        )
        with progress.stage("writing the page"):
            write_record(found, left.folder)
            scores = write_scores(found, place.root / "audit")
            page = write_page(
                found, place.root / "audit", f"Privacy audit: {paths.root.name}, {chosen.task_name}", _limit(study)
            )
    _say(found.record.card, _limit(study))
    for told in found.notes:
        ask.say(told)
    ask.say(f"The page: {page} and each patient's scores: {scores}. Both name patients: they must not leave this site.")


def _say(card: PrivacyAudit, limit: float) -> None:
    from relay.bundle import audits

    for label, text in audits.lines(card, limit):
        ask.say(f"{label:<16} {text}")


def _run(words: list[str], config: str | None) -> tuple[Path | None, list[str]]:
    """The config file of the run that is named, and the overrides.

    Raises:
        UserError: none is named, several are, or it is no run.
    """
    named = [word for word in words if "=" not in word]
    if len(named) + (config is not None) != 1:
        raise UserError(
            f"{'no run is' if not named and config is None else 'more than one run is'} given",
            "Give its folder, exps/<config>/<note>, or its config with -c and its note with -n.",
        )
    if not named:
        return None, words
    path = Path(named[0]) / "config.given.yaml"
    if not path.is_file():
        raise UserError(
            f"{named[0]} is not the folder of a run: it has no {path.name}",
            "Name a folder exps/CONFIG/NOTE, or give -c CONFIG -n NOTE.",
        )
    return path, [word for word in words if "=" in word]


def _leg(study: Study, paths: RunPaths, folder: str | None) -> Leg:
    """The leg to audit.

    Raises:
        UserError: there is none of that name, or none has finished.
    """
    by_folder = {leg.folder: leg for leg in study.legs}
    if folder is not None:
        if folder not in by_folder:
            near = nearest(folder, list(by_folder))
            raise UserError(
                f"--leg {folder}: not one of the run's legs" + (f"; did you mean '{near}'?" if near else ""),
                f"Choose one: {some(list(by_folder))}",
            )
        return by_folder[folder]
    finished = [leg for leg in study.legs if paths.leg(leg.folder).finished]
    if not finished:
        raise UserError(f"no leg in {paths.root} is finished", "Train it first: relay train, with the same -c and -n.")
    return finished[-1]


def _as_trained(leg: Leg, paths: RunPaths) -> None:
    """Check that the settings are those that the leg was trained with: others deal the patients to other splits.

    Raises:
        ChangedConfigError: they are not.
    """
    try:
        paths.leg(leg.folder).check(leg.scientific())
    except ChangedConfigError as error:
        run = typed("relay", "audit", paths.root)
        raise ChangedConfigError(str(error), f"Audit it with the settings of the run itself: {run}") from None


def _data(study: Study, leg: Leg, paths: RunPaths, devices: Devices) -> tuple[list[SiteData], int]:
    """The leg's sites, with the images that it used, and the optimiser steps of its training."""
    from relay.leg import Needs, Sites, digests, planned_steps

    sites = Sites(leg.conf.random_seed, paths)
    made = [sites(dataset, train=True) for dataset in leg.pool]
    needed: Needs = [(dataset, ("train", "val", "test")) for dataset in leg.pool]
    digests.check(paths.leg(leg.folder), sites.files(needed))
    sites.read(needed, ask.say)
    shares = max(1.0, sum(leg.strategy.shares))
    return made, max(1, round(planned_steps(leg, sites, devices) / shares))


def _limit(study: Study) -> float:
    """The ``audit_limit`` of the study's policy; outside a deployment, the usual one."""
    from relay.bundle import audits

    if study.handoff is None:
        return audits.LIMIT
    from relay.exchange import StudyStore
    from relay.home import home_of

    return StudyStore(home_of(study.handoff.key), study.handoff.study).roster.policy.audit_limit


def _selftest(seeds: int) -> None:
    """Show what the audit says of handovers of which it is known whether they leak.

    Raises:
        RelayError: it was wrong too often.
    """
    from relay.privacy import selftest

    wrong = []
    for control in selftest(seeds):
        must = "must be flagged" if control.leaks else "must pass"
        ask.say(f"{control.name}: {must}; right {control.right} of {control.tried} times")
        wrong += [control.name] if control.right < 0.9 * control.tried - 1 else []
    if wrong:
        raise RelayError(
            f"the audit was wrong too often about {some(wrong)}", "Report this with the output of relay doctor."
        )
