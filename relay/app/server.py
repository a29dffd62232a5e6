"""Serve the page to the browser of this computer."""

from __future__ import annotations

import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from relay.app import web
from relay.app.desk import Desk
from relay.app.doorbell import links_of, open_at
from relay.app.guard import Door, Guard
from relay.errors import Interrupted, RelayError, UserError

PAGES = (
    "study",
    "keys",
    "data",
    "config",
    "leg",
    "approve",
    "results",
    "predicted",
    "viewer",
    "correct",
    "editor",
    "models",
    "jobs",
    "browse",
)
"""The pages' modules; each has ``ROUTES``."""
LOOPBACK = "127.0.0.1"


def application(desk: Desk, door: Door, host: str) -> Starlette:
    """The pages behind their guard.

    Args:
        host: what the browser must call this server: ``127.0.0.1:PORT``.
    """
    routes: list[Route | Mount] = []
    for name in PAGES:
        routes += import_module(f"relay.app.pages.{name}").ROUTES
    routes.append(Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")))
    made = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, door=door, host=host)],
        exception_handlers={RelayError: web.failed, OSError: web.refused, 404: _nothing, Exception: web.broken},
    )
    made.state.desk, made.state.door = desk, door
    return made


def _nothing(request: Request, error: Exception) -> Response:
    return web.failed(request, UserError(f"there is no page {request.url.path}", "Go to the first page."))


def listen(port: int) -> socket.socket:
    """A socket that only this computer can reach.

    Args:
        port: 0 for any that is free.

    Raises:
        UserError: the port is in use.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.bind((LOOPBACK, port))
        found.listen()  # the link is told before the server starts: a browser that is faster waits
    except OSError as error:
        found.close()
        raise UserError(
            f"port {port} can't be used: {error.strerror}", "Leave out --port: any free one is taken."
        ) from error
    return found


def serve(desk: Desk, port: int, idle: float, browser: bool, say: Callable[[str], None]) -> None:
    """Serve the page until it is stopped; jobs that run go on.

    Args:
        port: 0 for any that is free.
        idle: minutes without use after which the page locks.
        browser: open it in the system's browser.
        say: prints a line.

    Raises:
        Interrupted: it was stopped, with Ctrl-C or SIGTERM.
        UserError: the port is in use.
    """
    with listen(port) as listening:
        host = f"{LOOPBACK}:{listening.getsockname()[1]}"
        door = Door(idle * 60, beside=links_of(desk.home))

        def link() -> str:
            return f"http://{host}/enter?token={door.link()}"

        server = uvicorn.Server(
            uvicorn.Config(
                application(desk, door, host), log_config=None, access_log=False, server_header=False, ws="none"
            )
        )
        first = link()
        say("Open this link in a browser of this computer, within ten minutes; it works once:")
        say(f"  {first}")
        if browser:
            webbrowser.open(first)
        if sys.stdin.isatty():
            say("Press Enter for another link, Ctrl-C to stop. Jobs that run go on.")
            threading.Thread(target=_offer, args=(link, say), daemon=True).start()
        try:
            with open_at(desk.home, listening.getsockname()[1]):
                server.run(sockets=[listening])
        except KeyboardInterrupt:
            raise Interrupted("the page is closed", "Jobs that run go on. To open it again: relay ui") from None


def _offer(link: Callable[[], str], say: Callable[[str], None]) -> None:
    """A new link each time somebody presses Enter in the terminal."""
    for _ in sys.stdin:
        say(f"  {link()}")
