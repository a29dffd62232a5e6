"""``relay report``: the page of a run or a comparison."""

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
        typer.Option("--cases", help="Show each site's best, median, worst image, and heat maps. Only for this site."),
    ] = False,
) -> None:
    """Write the results as one HTML page that needs no network, with its figures beside it as PDF and PNG."""
    from relay.report import write_report

    page = write_report(folder, cases)
    ask.say(f"Written: {page}, {page.parent / 'figures.pdf'} and {page.parent / 'figures'}")
    if cases:
        ask.say("The page shows patient images: it must not leave this site.")
