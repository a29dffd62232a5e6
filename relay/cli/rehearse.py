"""``relay rehearse``: a whole study on one computer, with real keys and a folder for each site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command, resumes


@command
def rehearse(
    config: Annotated[str, typer.Option("-c", "--config", help="A simulation's config.", callback=options.value)],
    to: Annotated[Path, typer.Option("-o", "--to", help="Folder for everything.", metavar="FOLDER")],
    study: Annotated[
        str, typer.Option("-s", "--study", help="Name of the study.", callback=options.value)
    ] = "rehearsal",
    gpus: Annotated[str | None, typer.Option("-g", "--gpus", help="GPUs for the legs.", callback=options.value)] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The study's policy, as YAML.", metavar="FILE")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="As for train.")] = None,
) -> None:
    """Rehearse a whole study on this computer: real keys, a folder and processes for each site, a folder as the stick.

    It prints the commands as it runs them: the same ones that people will type. An interrupted rehearsal resumes.
    """
    resumes()
    from relay.cli import configs
    from relay.rehearse import Rehearsal

    planned = configs.find(config, overrides).plan()
    statements = Rehearsal(planned, to.resolve(), places.check_study(study), ask.say, gpus, policy).run()
    from relay.cli import show

    show.matrix([made.claim for made in statements])
    show.custody(statements)
    ask.say(f"Everything is in {to}: a folder for each site, and the stick.")
