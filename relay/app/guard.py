"""Who may use the page: one person, in a browser of this computer, who came by a link from the terminal.

The link holds a token that works once; a cookie takes its place. Each request must name this server as its host (a
page elsewhere can't reach it through a name that it lets point here), and one that changes something must come from
this server's own pages (``Origin``, and a token in the form). After some time without use, the page locks.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.app import doorbell

READING = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
FRAMED = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The policy of a page that a command wrote, shown in a frame: its own styles and pictures, no script, no network."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
QUIET = "x-relay-quiet"
"""A header of requests that the page makes by itself; they don't keep it from locking."""
ANOTHER = "For a new link, run in a terminal of this computer, as the same user: relay ui --link\n"
USED = (
    "This link was used before, is older than ten minutes, or is not of this page. If it was used less than a minute "
    f"ago, the page that it opened is locked, too: it may have been somebody else. {ANOTHER}"
)
LOCKED = (
    "The page is locked: somebody locked it, it was not used for a while, or this browser did not come by a link of "
    f"relay ui. Running jobs go on. {ANOTHER}"
)


DOUBT = 60.0
"""Seconds in which a link that comes again locks what it has opened."""
FRESH = 600.0
"""Seconds in which a link must be used."""


@dataclass
class Door:
    """Links, and the cookie that takes their place.

    Args:
        idle: seconds without use after which the page locks.
        clock: returns the time in seconds; replaced in tests.
        beside: the folder of links that ``relay ui --link`` gives; None for none.
    """

    idle: float
    clock: Callable[[], float] = time.monotonic
    beside: Path | None = None
    links: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, float] = field(default_factory=dict)
    used: dict[str, tuple[str, float]] = field(default_factory=dict)

    def link(self) -> str:
        """A token that opens the page once."""
        token = secrets.token_urlsafe(32)
        self.links[token] = self.clock()
        return token

    def enter(self, token: str) -> str | None:
        """The session that a link opens; None if it is wrong or used.

        While a browser starts, other users of this computer can read the link among its arguments. One who is faster
        than the browser is locked out again as soon as the browser comes.
        """
        if not self._fresh(token):
            session, since = self.used.get(token, ("", -math.inf))
            if self.clock() - since < DOUBT:
                self.sessions.pop(session, None)
            return None
        session = secrets.token_urlsafe(32)
        self.sessions[session] = self.clock()
        self.used[token] = session, self.clock()
        return session

    def _fresh(self, token: str) -> bool:
        """Whether a link may be used; it may not be used again."""
        since = self.links.pop(token, None)
        if since is not None:
            return self.clock() - since < FRESH
        return self.beside is not None and doorbell.answered(self.beside, token, FRESH)

    def lock(self, session: str) -> None:
        """Lock the page for a browser at once."""
        self.sessions.pop(session, None)

    def knows(self, session: str, used: bool) -> bool:
        """Whether a session is open; ``used`` by a person just now, it stays open."""
        now = self.clock()
        if now - self.sessions.get(session, now - self.idle - 1) > self.idle:
            self.sessions.pop(session, None)
            return False
        if used:
            self.sessions[session] = now
        return True


def csrf_of(session: str) -> str:
    """The token of a session's forms."""
    return hmac.new(session.encode(), b"form", "sha256").hexdigest()


class Guard:
    """ASGI middleware: nothing behind it is reached by a request that may not be here."""

    def __init__(self, app: ASGIApp, door: Door, host: str) -> None:
        self.app, self.door, self.host = app, door, host
        self.cookie = f"relay_{host.rpartition(':')[2]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no page here uses a web socket
            return None
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is None and scope["path"] == "/enter":
            refused = self._enter(Request(scope))
        if refused is None:
            session = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
            if self.door.knows(session, used=QUIET not in headers):
                scope["relay_session"] = session
                return await self.app(scope, receive, _with_headers(send))
            refused = PlainTextResponse(LOCKED, 403)
        return await refused(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        if headers.getlist("host") != [self.host]:
            return PlainTextResponse("This page has another address.\n", 421)
        origin = f"http://{self.host}"
        if scope["method"] not in READING and headers.get("origin") != origin:
            return PlainTextResponse("This request does not come from the page itself.\n", 403)
        if headers.get("origin", origin) != origin:
            return PlainTextResponse("This request does not come from the page itself.\n", 403)
        return None

    def _enter(self, request: Request) -> Response:
        session = self.door.enter(request.query_params.get("token", ""))
        if session is None:
            return PlainTextResponse(USED, 403)
        response = RedirectResponse("/", 303)
        response.set_cookie(self.cookie, session, httponly=True, samesite="strict", path="/")
        return response


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
