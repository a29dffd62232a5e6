"""Choose the model for a site's own patients: ``relay adopt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relay.cli import configs, options
from relay.cli.top import command, hold, log_to
from relay.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from relay.plan import Study

WORDS = {
    "expert": "this site's own model, from its leg",
    "tuned": "the generalist, fine-tuned here",
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

    The candidates are the site's own model, the generalist, the vote of all sites' models, and the generalist
    fine-tuned here. A simulation does this for every site.
    """
    study, root, devices = configs.study_of(config, note, gpus, overrides)
    from rich.console import Console

    from relay.leg import Progress, RunPaths, check_input_spec, transport_of
    from relay.simulate import Simulation

    hold(RunPaths(root).alone())
    transport = transport_of(study, RunPaths(root))
    console = Console()
    log_to(root / "logs" / "adopt.log", verbose)
    simulation = Simulation(study, root, devices, transport)
    chosen = []
    with Progress(console=console) as progress:
        legs = list({leg.task_name: leg for leg in study.legs}.values())
        for leg in legs:
            newest = transport.newest(leg)
            if newest is None:
                raise UserError(
                    f"in {study.name} ({study.strategy}) nothing is handed over, so there is nothing to adopt",
                    "Give the config of a relay.",
                )
            check_input_spec(leg, newest.handover.facts, root)
            _going_on(study, len(newest.handover.legs), progress)
        with progress.stage("reading and checking images"):
            progress.expect(simulation.read_for_adoption(legs, progress.say))
        for leg in legs:
            chosen.append(simulation.adopt(leg, progress))
    for record in filter(None, chosen):
        _show(console, record)


def _going_on(study: Study, legs: int, progress: Any) -> None:
    """Warn if the relay has not ended: a later leg's models may be better."""
    if study.handoff is None:
        return
    from relay.exchange import StudyStore
    from relay.home import home_of

    order = StudyStore(home_of(study.handoff.key), study.handoff.study).roster.order
    if legs < len(order):
        progress.say(f"warning: this is leg {legs} of {len(order)}: the relay goes on. Adopt again when it has ended.")


def _show(console: Console, record: Mapping[str, Any]) -> None:
    from relay.numbers import bounds, number
    from relay.screen import Column, show_table, show_text

    columns = [Column("candidate", left=True), Column("mean Dice"), Column("95 % interval", 1), Column("images", 2)]
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
