"""``relay dpia``: two pages for the data protection officer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli import ask, configs, forget, options, places
from relay.cli.top import command
from relay.errors import UserError, nearest

RUN = "run"
"""The usual note."""
Note = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--note",
        help=f"The run: exps/<config>/<note>. Default: {RUN}, which need not exist yet.",
        callback=lambda given: given if given is None else options.plain_note(given),
    ),
]


@command
def dpia(
    config: options.RunConfig,
    to: options.To,
    note: Note = None,
    home: options.Home = None,
    overrides: options.Overrides = None,
) -> None:
    """Write two drafts for the data protection officer: an annex to the impact assessment, and a data-flow statement.

    They are filled in from the config, the run, the roster and the ledger; what these don't say is left open.
    """
    folder = places.folder_there(to)
    from relay.config import locate

    path, name = locate(config)
    study = configs.find(config, overrides).plan(train=False)
    run = _run(name, note)
    from relay.papers import write_pages
    from relay.protection import pages

    made = pages(study, path, run, forget.store_of(study, home, joined=False))
    ask.say(*(f"Written: {file}" for file in write_pages(made, folder)))
    if not run.is_dir():
        ask.say(f"There is no run {run} yet: what only a run can say is left open. To name another one: -n NOTE.")
    left = sum(page.open for page in made)
    ask.say(f"These are drafts: {left} questions are open, and a person must check the rest.")


def _run(name: str, note: str | None) -> Path:
    """The folder of the run, which must exist if it is named.

    Raises:
        UserError: it doesn't.
    """
    run = Path("exps") / name / (note or RUN)
    if note is not None and not run.is_dir():
        there = sorted(path.name for path in run.parent.glob("*/") if (path / "config.given.yaml").is_file())
        near = nearest(note, there)
        raise UserError(
            f"there is no run {run}" + (f"; did you mean '{near}'?" if near else ""),
            f"Runs of this config: {', '.join(there) or 'none'}. Before the first one, leave -n out.",
        )
    return run
