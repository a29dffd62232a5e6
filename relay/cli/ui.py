"""The operator's page: ``relay ui``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from relay.cli import ask, options
from relay.cli.top import command
from relay.errors import UserError
from relay.home import home_of

NEEDED = ("starlette", "uvicorn", "python_multipart")


@command
def ui(
    config: Annotated[
        str | None,
        typer.Option("-c", "--config", help="The config that forms start with.", callback=options.value),
    ] = None,
    roots: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            help="A folder that the page may open, beside this one and mounted sticks. Can be repeated.",
            metavar="FOLDER",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="Default: any that is free.", min=0, max=65535)] = 0,
    idle: Annotated[float, typer.Option("--idle", help="Lock the page after so many minutes without use.", min=1)] = 30,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open the browser.")] = True,
    link: Annotated[
        bool, typer.Option("--link", help="Only print a new link to the page that is open, for example a locked one.")
    ] = False,
    home: options.Home = None,
) -> None:
    """Open this site's page in the browser of this computer: a leg without a terminal.

    It needs no network, and only this computer can reach it. Everything it does is a relay command, which it shows.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(
            f"the page needs packages that are not installed: {', '.join(missing)}",
            "Install them as relay was installed: pip install 'relay-learning[ui]'.",
        )
    if link:
        from relay.app import ring

        return ask.say(ring(home_of(home).resolve()))
    if config is not None:
        from relay.config import locate

        locate(config)
    from relay.app import Desk, Roots, serve

    place, here = home_of(home).resolve(), Path.cwd()
    desk = Desk(place, here, Roots.of([here, *(roots or [])], [place]), config)
    return serve(desk, port, idle, browser, ask.say)
