"""The commands. Each parses, calls the toolkit, and leaves; what is heavy is imported inside.

``train.py`` and ``predict_test.py`` at the top of the repository are ``relay train`` and ``relay predict``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import relay
from relay.cli import handoff, keys, look, record, rehearse, roster
from relay.cli.options import PLAIN, value
from relay.cli.top import command, log_to

Config = Annotated[
    str,
    typer.Option("-c", "--config", help="Name under configs/ (fundus/relay), or a .yaml file.", callback=value),
]
Note = Annotated[str, typer.Option("-n", "--note", help="Names this run: exps/<config>/<note>.", callback=value)]
Gpus = Annotated[
    str | None, typer.Option("-g", "--gpus", help="GPUs to use: 0 or 0,1. Absent: the CPU.", callback=value)
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log to the screen too.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key=value over the config: common.train.batch_size=8", metavar="KEY=VALUE"),
]

STRATEGIES = "local,sequential,relay,joint"

app = typer.Typer(no_args_is_help=True, **PLAIN)


def with_strategy(given: dict[str, Any], name: str) -> dict[str, Any]:
    """The same config under another strategy, with that one's defaults; its own keeps its options."""
    common = given.get("common")
    if not isinstance(common, dict):
        return given  # the check of the config says so
    own = common.get("strategy")
    chosen = own if isinstance(own, dict) and own.get("name") == name else {"name": name}
    return {**given, "common": {**common, "strategy": chosen}}


def _study(config: str, note: str, gpus: str | None, overrides: list[str] | None, train: bool = True) -> Any:
    """The checked study, its folder and its devices."""
    from relay.cli import configs
    from relay.config.devices import choose

    found = configs.find(config, overrides)
    devices, problems = choose(gpus)
    return found.plan(problems, train=train), Path("exps") / found.name / note, devices


@app.command()
@command
def train(
    config: Config,
    note: Note = "run",
    gpus: Gpus = None,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Run the legs of a config: all sites on this node, or this site's own leg.

    Goes on where it was interrupted; legs that are finished are skipped.
    """
    study, root, devices = _study(config, note, gpus, overrides)
    from rich.console import Console

    from relay.leg.place import RunPlace
    from relay.leg.processes import is_first
    from relay.leg.throwaway import post_of

    post = post_of(study, RunPlace(root))
    post.prepare(study.legs[0])
    from relay.leg.progress import Progress
    from relay.report import show_study
    from relay.simulate import Simulation

    console = Console() if is_first() else None
    if console:
        log_to(root / "logs" / "run.log", verbose)
    simulation = Simulation(study, root, devices, post)
    with Progress(simulation.steps, console) as progress:
        summary = simulation.run(progress)
    if console:
        show_study(console, summary, root)


@app.command()
@command
def predict(
    config: Config,
    note: Note = "run",
    gpus: Gpus = None,
    save: Annotated[bool, typer.Option("-s", "--save", help="Save the predictions as images.")] = False,
    received: Annotated[
        int | None, typer.Option("--received", help="Test the model of this leg, as it was received.", min=1)
    ] = None,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Sample-wise Dice of every leg's last.ckpt, or of a received model, on every test set that is here."""
    study, root, devices = _study(config, note, gpus, overrides, train=False)
    from rich.console import Console

    from relay.predict import predict_study
    from relay.report import show_predictions

    console = Console()
    log_to(root / "logs" / "predict.log", verbose)
    show_predictions(console, predict_study(study, root, devices, console, save, received), root)


@app.command()
@command
def compare(
    config: Config = "demo",
    strategies: Annotated[str, typer.Option("--strategies", help="Names, with commas between.")] = STRATEGIES,
    note: Note = "compare",
    gpus: Gpus = None,
    verbose: Verbose = False,
    overrides: Overrides = None,
) -> None:
    """Simulate a config under several strategies and put them side by side.

    The default config needs no data: four hospitals are drawn.
    """
    from relay.cli import configs
    from relay.config.devices import choose

    found = configs.find(config, overrides)
    devices, problems = choose(gpus)
    chosen = [strategy.strip() for strategy in strategies.split(",")]
    studies = [found.plan(problems, with_strategy(found.reading.config, strategy)) for strategy in chosen]
    from rich.console import Console

    from relay.leg.processes import is_first
    from relay.leg.progress import Progress
    from relay.report import show_comparison
    from relay.simulate import Simulation

    console = Console() if is_first() else None
    root = Path("exps") / found.name / note
    if console:
        log_to(root / "logs" / "compare.log", verbose)
    simulations = [Simulation(s, root / s.strategy, devices) for s in studies]
    with Progress(sum(s.steps for s in simulations), console) as progress:
        summaries = [simulation.run(progress) for simulation in simulations]
    if console:
        show_comparison(console, summaries, [root / s.strategy for s in studies])


@app.command()
@command
def plugins() -> None:
    """The names a config may use: strategies, memories, data sets, nets, losses, optimisers, schedulers."""
    from relay.losses import LOSSES
    from relay.optim import OPTIMIZERS, SCHEDULERS
    from relay.registry import names

    for group in ("strategies", "memories", "datasets", "nets"):
        typer.echo(f"{group}: {', '.join(names(group))}")
    for title, known in (("losses", LOSSES), ("optimizers", OPTIMIZERS), ("schedulers", SCHEDULERS)):
        typer.echo(f"{title}: {', '.join(known)}")


app.add_typer(keys.keys_app, name="keys")
app.add_typer(roster.roster_app, name="roster")
for function in (
    keys.invite,
    keys.request,
    handoff.receive,
    handoff.send,
    look.verify,
    look.inspect,
    rehearse.rehearse,
    record.receipt,
    record.ledger,
):
    app.command()(function)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(relay.__version__)
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
    """One command as a program of its own: ``train.py``, ``predict_test.py``."""
    alone = typer.Typer(**PLAIN)
    alone.command()(function)
    alone()
