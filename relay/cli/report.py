"""``relay report``: a run's, or a comparison's, page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli import ask
from relay.cli.top import command


@command
def report(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a run, or of a comparison: exps/<config>/<note>.", metavar="EXP")
    ],
    cases: Annotated[
        bool,
        typer.Option("--cases", help="Show the best, median and worst image of each site: for this site's eyes only."),
    ] = False,
) -> None:
    """One HTML page of what came out, which needs no network; its figures beside it, as PDF and PNG."""
    from relay.report import write_report

    page = write_report(folder, cases)
    ask.say(f"Written: {page}, {page.parent / 'figures.pdf'} and {page.parent / 'figures'}")
    if cases:
        ask.say("The page shows images of patients: it must not leave this site.")
