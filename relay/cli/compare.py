"""Compare many runs: ``relay compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import configs, options
from relay.cli.top import command, hold, log_to, resumes
from relay.errors import ConfigError, RelayError, UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from relay.compare import Failed, Job, Share
    from relay.config import Devices
    from relay.errors import Problem
    from relay.plan import Config

STRATEGIES = "local,sequential,relay,joint"
DEFAULT = "demo"


@command
def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="A config, as for -c; and key=value to override it.", metavar="[CONFIG] [KEY=VALUE]..."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("-c", "--config", help="Name under configs/, or a .yaml file.", callback=options.value),
    ] = None,
    strategies: Annotated[
        str, typer.Option("--strategies", help="Comma-separated names; name[key=value] sets options.")
    ] = STRATEGIES,
    orders: Annotated[
        str,
        typer.Option("--orders", help="How many orders of the sites, or the orders: a,b,c/c,b,a.", metavar="N|LIST"),
    ] = "1",
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds", help="How many seeds, starting with the config's; or the seeds: 7,8.", metavar="N|LIST"
        ),
    ] = "1",
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="The strategy to test the others against. Default: relay, else the first."),
    ] = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Also run without each site in turn, and test on it.")
    ] = False,
    folds: Annotated[
        int,
        typer.Option(
            "--folds", help="Cross-validate: deal each site's patients into this many folds, and test on each in turn."
        ),
    ] = 0,
    inner: Annotated[
        int,
        typer.Option(
            "--inner",
            help="With --folds: choose among the strategies inside each fold, over this many folds of the others.",
        ),
    ] = 0,
    note: options.Note = "compare",
    gpus: options.Gpus = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="How many runs at a time, each in its own process.", min=1)
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            "--slurm", help="Submit the runs to Slurm, with these submitit parameters.", metavar="KEY=VALUE,…"
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Run on this Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", metavar="ADDRESS"),
    ] = None,
    verbose: options.Verbose = False,
) -> None:
    """Simulate a config with several strategies, site orders and seeds, and compare them.

    An interrupted comparison resumes; finished runs are skipped. The default config needs no data: it synthesises four
    hospitals.
    """
    resumes()
    found = _config(config, words or [])
    if slurm is not None and ray is not None:
        raise UserError("--slurm and --ray: runs go to one cluster", "Give one of the two.")
    elsewhere = slurm is not None or ray is not None
    devices, problems = _devices(gpus, elsewhere)
    from relay.compare import Share, jobs_of, labels_of, shares_of

    if folds and folds < 2:
        raise UserError(
            f"--folds {folds}: at least 2 folds are needed, to train on the others", "5 and 10 are usual: --folds 5"
        )
    if inner and (inner < 2 or not folds):
        raise UserError(
            f"--inner {inner}: " + ("chooses inside the folds of --folds" if inner > 1 else "at least 2 are needed"),
            "For example: --folds 5 --inner 3",
        )
    chosen = labels_of(strategies)
    against = _reference(reference, chosen)
    config_of = found.reading.config
    planned = jobs_of(
        config_of, chosen, orders, seeds, lambda blocks: found.plan(problems, blocks), leave_one_out, folds, inner
    )
    for job in planned:
        configs.check_precision(job.study, devices)
    root = Path("exps") / found.name / note
    from relay.compare import cross_validated, stand_ins, unfinished
    from relay.leg import RunPaths, is_first

    if is_first():
        hold(RunPaths(root).alone())
    todo = unfinished(planned, root)
    executor = _executor(root, devices, jobs, slurm, ray)
    shares = [Share(devices)] * (jobs or len(todo)) if elsewhere or jobs is None else shares_of(jobs, devices)
    from rich.console import Console

    from relay.screen import show_text

    console = Console() if is_first() else None
    if console:
        log_to(root / "logs" / "compare.log", verbose)
        for sentence in [*stand_ins(planned), *cross_validated(planned)]:
            show_text(console, sentence)
        if len(planned) > len(todo):
            show_text(console, f"{len(planned) - len(todo)} of {len(planned)} runs are already finished and skipped")
    failed = _spread(todo, root, console, executor, shares) if executor else _here(todo, root, devices, console)
    if console:
        _tell(planned, root, failed, against, console)


def _config(config: str | None, words: Sequence[str]) -> Config:
    named = [word for word in words if "=" not in word]
    if len(named) + (config is not None) > 1:
        given = ", ".join([*([f"-c {config}"] if config else []), *named])
        raise UserError(f"more than one config: {given}", "Give one. To override its values, use key=value.")
    return configs.find(config or (named[0] if named else DEFAULT), [word for word in words if "=" in word])


def _devices(gpus: str | None, elsewhere: bool) -> tuple[Devices, Sequence[Problem]]:
    """The devices that ``-g`` selects; those of a cluster's nodes can't be seen from here."""
    from relay.config import Devices, choose

    numbers = (gpus or "").split(",")
    if elsewhere and all(number.isdecimal() for number in numbers):
        return Devices("gpu", [int(number) for number in numbers]), []
    return choose(gpus)


def _reference(wanted: str | None, chosen: Sequence[str]) -> str:
    if wanted is None:
        return "relay" if "relay" in chosen or not chosen else chosen[0]
    if wanted not in chosen:
        near = nearest(wanted, list(chosen))
        raise UserError(
            f"--reference {wanted}: not one of the strategies" + (f"; did you mean '{near}'?" if near else ""),
            f"Choose one of --strategies: {', '.join(chosen)}",
        )
    return wanted


def _executor(root: Path, devices: Devices, jobs: int | None, slurm: str | None, ray: str | None) -> Any:
    """What spreads the runs over processes, or None for this one."""
    from relay.compare import executor_of, ray_executor

    if ray is not None:
        return ray_executor(ray, root, devices)
    spread = jobs is not None or slurm is not None
    return executor_of(root / "logs" / "submitit", devices, _slurm(slurm)) if spread else None


def _slurm(text: str | None) -> dict[str, Any] | None:
    """Comma-separated ``key=value`` pairs; values are read as YAML."""
    if text is None:
        return None
    from relay.config import value_of

    pairs = [part.partition("=") for part in text.split(",") if part]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        raise UserError(f"--slurm {text}: '{wrong[0]}' is not of the form key=value", "For example: timeout_min=600")
    try:
        return {key.strip(): value_of(value, f"--slurm {key.strip()}") for key, _, value in pairs}
    except ConfigError as error:
        why = "; ".join(problem.allowed for problem in error.problems)
        raise UserError(
            f"--slurm {text}: a value can't be read as YAML: {why}", "For example: timeout_min=600"
        ) from error


def _here(todo: Sequence[Job], root: Path, devices: Devices, console: Console | None) -> list[Failed]:
    from relay.compare import planned_steps, run_here
    from relay.leg import Progress, progress_of

    with Progress(console=console, file=progress_of(root) if console else None) as progress:
        with progress.stage("finding images"):
            steps = planned_steps(todo, root, devices)
        progress.expect(sum(steps))
        return run_here(todo, root, devices, progress, steps)


def _spread(
    todo: Sequence[Job],
    root: Path,
    console: Console | None,
    executor: Any,
    shares: Sequence[Share],
) -> list[Failed]:
    from relay.compare import run_spread
    from relay.leg import Progress

    with Progress(len(todo), console) as progress:
        progress.note(f"of {len(todo)} runs")
        return run_spread(todo, root, progress, executor, shares)


def _tell(planned: Sequence[Job], root: Path, failed: Sequence[Failed], reference: str, console: Console) -> None:
    """Write the tables, the files and the page; then report failures.

    Raises:
        RelayError: a run failed.
    """
    from relay.compare import comparison, drop_first_legs, read_runs

    runs, failed = read_runs(planned, root, failed)
    if runs:
        from relay.leg import Progress
        from relay.report import show_comparison, write_report

        with Progress(console=console) as progress, progress.stage("writing the report"):
            told = comparison(planned, root, runs, failed, reference)
            page = write_report(root)
        show_comparison(console, told, page)
    if failed:
        lines = [f"  - {problem.job}: {problem.message}\n    log: {problem.log}" for problem in failed]
        raise RelayError(
            f"{len(failed)} of {len(planned)} runs failed:\n" + "\n".join(lines),
            "Check the logs. The same command tries these again and skips the finished runs.",
        )
    drop_first_legs(root)
