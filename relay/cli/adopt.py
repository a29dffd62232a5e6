"""Choose the model for a site's own patients: ``relay adopt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relay.cli import configs, options
from relay.cli.top import command, hold, log_to, resumes, warn
from relay.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from relay.leg import Transport
    from relay.plan import Leg, Study

WORDS = {
    "expert": "this site's own model, from its leg",
    "tuned": "fine-tuned here once more",
    "learned": "fine-tuned here on masks corrected by hand",
    "generalist": "the one model of the last leg",
    "vote": "all sites' own models, weighed by looks",
}


@command
def adopt(
    config: options.RunConfig,
    note: options.Note = "run",
    gpus: options.Gpus = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """After the last leg, choose the model for this site's own patients, on its validation images.

    The candidates are the site's own model, the generalist, the vote of all sites' models, and the better one of
    the first two, fine-tuned here. A simulation does this for every site.
    """
    resumes()
    study, root, devices = configs.study_of(config, note, gpus, overrides)
    from rich.console import Console

    from relay.leg import Progress, RunPaths, is_first, progress_of, transport_of
    from relay.simulate import Simulation

    if is_first():
        hold(RunPaths(root).alone())
    transport = transport_of(study, RunPaths(root))
    legs = list({leg.task_name: leg for leg in study.legs}.values())
    for leg in legs:
        _check(study, leg, transport, root)
    console = Console() if is_first() else None
    if console:
        log_to(root / "logs" / "adopt.log", verbose)
    simulation = Simulation(study, root, devices, transport)
    with Progress(console=console, file=progress_of(root) if console else None) as progress:
        with progress.stage("reading and checking images"):
            progress.expect(simulation.read_for_adoption(legs, progress.say))
        records = [simulation.adopt(leg, progress) for leg in legs]
    for record in filter(None, records if console else ()):
        _show(console or Console(), record, study.task.score_name)


def _check(study: Study, leg: Leg, transport: Transport, root: Path) -> None:
    """Check, before any work, that there is something to choose from and that it was trained with this config; warn if
    a later leg's models may be better.

    Raises:
        UserError: there is not, or it was not.
    """
    from relay.leg import RunPaths
    from relay.predict import models

    RunPaths(root).leg(leg.folder).check(leg.scientific())
    incoming = transport.newest(leg)
    if incoming is None:
        raise UserError(
            f"nothing is handed over in {study.name} ({study.strategy}), so there is nothing to adopt",
            "Give the config of a relay. To test each site's own model: relay predict.",
        )
    models.check_handover(study, leg, incoming.handover, root)
    if study.handoff is not None:
        done, order = len(incoming.handover.legs), models.store_of(study).roster.order
        if done < len(order):
            warn(f"this is leg {done} of {len(order)}: the relay goes on. Adopt again after the last leg is received")


def _show(console: Console, record: Mapping[str, Any], score: str) -> None:
    from relay.numbers import bounds, number
    from relay.screen import Column, show_table, show_text

    columns = [Column("candidate", left=True), Column(score), Column("95 % interval", 1), Column("images", 2)]
    rows = [
        [
            f"{'*' if kind == record['model'] else ' '} {kind}",
            number(row["mean"]),
            bounds(row["low"], row["high"]),
            str(row["samples"]),
        ]
        for kind, row in record["candidates"].items()
    ]
    show_table(console, f"{record['site']}, on its validation images", columns, rows)
    show_text(console, f"Adopted: {record['model']} ({WORDS[record['model']]}), because {record['why']}.")
