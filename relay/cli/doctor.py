"""``relay doctor``: whether this computer is fit for a leg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command
from relay.errors import UserError
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.doctor import Finding


@command
def doctor(
    stick: Annotated[
        Path | None, typer.Option("--stick", help="Also check the stick mounted here.", metavar="FOLDER")
    ] = None,
    selftest: Annotated[
        bool,
        typer.Option("--selftest", help="Also train, sign, seal, verify and resume a tiny study: a minute or two."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write the findings without paths and names, to send for help.", metavar="FILE"),
    ] = None,
    home: options.Home = None,
) -> None:
    """Check this computer: Python, packages, GPU, memory, disk, clock, keys and encoding, in seconds.

    Each warning and fault comes with what to do. The exit code is 0 if there is no fault, else 2.
    """
    from relay.doctor import check_machine, check_stick, self_test, write_report

    target = None if report is None else expanded(report)
    if target is not None:
        check_target(target)
    found: list[Finding] = []
    here = Path.cwd()
    show(check_machine(home_of(home).resolve(), here / "exps" if (here / "exps").is_dir() else here), found)
    if stick is not None:
        show(check_stick(expanded(stick)), found)
    if selftest:
        ask.say("The self-test runs; it takes a minute or two …")
        show(self_test(), found)
    if target is not None:
        write_report(found, target)
        ask.say(f"Written: {target}. Read it before you send it.")
    conclude(found)


def check_target(file: Path) -> None:
    """Check, before time is spent, that a report can be written to a file.

    Raises:
        UserError: its folder is missing, or something else is there.
    """
    from relay.doctor import is_report

    places.folder_there(file.parent)
    if file.exists() and not is_report(file):
        raise UserError(f"{file} already exists and is not a report", "Give another name: --report FILE")


def show(findings: Iterable[Finding], found: list[Finding]) -> None:
    """Print each finding as it is made, and append it to those found so far."""
    for one in findings:
        found.append(one)
        ask.say(f"{one.level:<8} {one.subject}: {one.shown(one.text)}")
        if one.cure:
            ask.say(f"{'':<8} what to do: {one.shown(one.cure)}")


def conclude(found: list[Finding]) -> None:
    """Print how many faults and warnings there are.

    Raises:
        UserError: there are faults.
    """
    faults, warnings = (sum(one.level == level for one in found) for level in ("fault", "warning"))
    if faults:
        raise UserError(
            f"{faults} fault(s) and {warnings} warning(s)", "Do what is written below each, and run relay doctor again."
        )
    ask.say(f"No fault, {warnings} warning(s).")
