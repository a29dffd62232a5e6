"""The commands. Each one parses, calls the toolkit and exits; heavy modules are imported inside.

``train.py`` and ``predict_test.py`` at the top of the repository are ``relay train`` and ``relay predict``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import relay
from relay.cli import (
    adopt,
    ask,
    audit,
    catalogue,
    compare,
    configs,
    correct,
    data,
    doctor,
    dossier,
    dpia,
    exchange,
    explain,
    export,
    forget,
    init,
    inspect,
    keys,
    kit,
    models,
    predict,
    record,
    rehearse,
    report,
    roster,
    score,
    share,
    subgroups,
    ui,
)
from relay.cli.options import PLAIN, Gpus, Note, Overrides, RunConfig, Verbose
from relay.cli.top import command, hold, log_to, resumes


class Commands(TyperGroup):
    """The commands; a wrong value is told without the words that pydantic puts before its messages."""

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(cls=Commands, no_args_is_help=True, **PLAIN)


@app.command()
@command
def train(
    config: RunConfig,
    note: Note = "run",
    gpus: Gpus = None,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Run the legs of a config: all sites on this computer, or this site's own leg.

    An interrupted run resumes; finished legs are skipped.
    """
    resumes()
    study, root, devices = configs.study_of(config, note, gpus, overrides)
    from rich.console import Console

    from relay.leg import RunPaths, is_first, transport_of

    if is_first():
        hold(RunPaths(root).alone())
    transport = transport_of(study, RunPaths(root))
    transport.prepare(study.legs[0])
    from relay.leg import Progress, progress_of
    from relay.report import show_study
    from relay.simulate import Simulation, apart, sites_of

    console = Console() if is_first() else None
    if console:
        log_to(root / "logs" / "run.log", verbose)
    simulation = Simulation(study, root, devices, transport)
    with Progress(console=console, file=progress_of(root) if console else None) as progress:
        with progress.stage("finding images"):
            progress.expect(simulation.steps)
        summary = simulation.run(progress)
        if console:
            from relay.leg import show_results
            from relay.report import write_report

            with progress.stage("writing the report"):
                page = write_report(root)
                show_results(root / "tensorboard", summary, study.legs[-1].scientific(), page.parent / "figures")
    if console:
        after = ["relay", "predict", "-c", config, "-n", note, *(["-g", gpus] if gpus else []), *(overrides or [])]
        show_study(console, summary, sites_of(study.legs), apart(study.legs), page, after)


app.command()(adopt.adopt)
app.command()(predict.predict)
app.command()(audit.audit)
app.command()(explain.explain)
app.command()(export.export)
app.command()(subgroups.subgroups)
app.command()(score.score)
app.command()(compare.compare)
app.command()(report.report)
app.command(name="list")(catalogue.show)
app.command()(init.init)
app.add_typer(data.data_app, name="data")
app.add_typer(models.models_app, name="models")
app.add_typer(correct.correct_app, name="correct")
app.add_typer(keys.keys_app, name="keys")
app.add_typer(kit.kit_app, name="kit")
app.add_typer(roster.roster_app, name="roster")
for function in (
    keys.invite,
    keys.request,
    exchange.receive,
    exchange.send,
    share.share,
    inspect.verify,
    inspect.inspect,
    rehearse.rehearse,
    record.receipt,
    record.ledger,
    forget.forget,
    dpia.dpia,
    dossier.dossier,
    ui.ui,
    doctor.doctor,
):
    app.command()(function)


def _version(wanted: bool) -> None:
    if wanted:
        ask.say(relay.__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """relay: one model, many hospitals, no network between them."""


def main() -> None:
    """The ``relay`` command."""
    app()


def script(function: Callable[..., None]) -> None:
    """Run a single command as a program: ``train.py``, ``predict_test.py``."""
    alone = typer.Typer(**PLAIN)
    alone.command()(function)
    alone()
