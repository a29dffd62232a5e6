"""``relay dpia``: two pages for the data protection officer."""

from __future__ import annotations

from pathlib import Path

from relay.cli import ask, configs, forget, options, places
from relay.cli.top import command


@command
def dpia(
    config: options.RunConfig,
    to: options.To,
    note: options.Note = "run",
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
    from relay.papers import write_pages
    from relay.protection import pages

    made = pages(study, path, Path("exps") / name / note, forget.store_of(study, home, joined=False))
    ask.say(*(f"Written: {file}" for file in write_pages(made, folder)))
    left = sum(page.open for page in made)
    ask.say(f"These are drafts: {left} questions are open, and a person must check the rest.")
