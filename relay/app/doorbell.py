"""A new link to a page that is open already: ``relay ui --link``, by the user who has started it.

::

    <home>/page/open.lock        held by the page while it is open
    <home>/page/open.json        its port
    <home>/page/links/<sha256>   a link that may be used, by the digest of its token

Only that user can write to this folder, so a link in it is theirs. The token itself is in no file.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from relay.app.jobs import private
from relay.errors import UserError
from relay.files import read_record, write_bytes, write_text

NOT_OPEN = "no page of this home is open"
OPEN = "Open it: relay ui"


def links_of(home: Path) -> Path:
    """The folder of the links of a home."""
    return home / "page" / "links"


@contextmanager
def open_at(home: Path, port: int) -> Iterator[None]:
    """Say at which port the page of a home is open. Of several pages, the first says it."""
    private(home / "page")
    lock = FileLock(home / "page" / "open.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield
        return
    try:
        write_text(home / "page" / "open.json", json.dumps({"port": port}) + "\n")
        yield
    finally:
        lock.release()


def ring(home: Path) -> str:
    """A new link to the page of a home.

    Raises:
        UserError: no page of this home is open, or its file is damaged.
    """
    if not (home / "page").is_dir():
        raise UserError(NOT_OPEN, OPEN)
    private(home / "page")
    lock = FileLock(home / "page" / "open.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        said = read_record(home / "page" / "open.json", {"port": int}, "Stop relay ui, and start it again.")
        if said is None:
            raise UserError("the page of this home is only starting", "Try again in a few seconds.") from None
        token = secrets.token_urlsafe(32)
        _clear(links_of(home))
        write_bytes(links_of(home) / _named(token), b"")
        return f"http://127.0.0.1:{said['port']}/enter?token={token}"
    lock.release()
    raise UserError(NOT_OPEN, OPEN)


def answered(links: Path, token: str, fresh: float) -> bool:
    """Whether there is a link with this token, younger than ``fresh`` seconds; it is removed."""
    path = links / _named(token)
    try:
        age = time.time() - path.stat().st_mtime
        path.unlink()
    except OSError:
        return False
    return age < fresh


def _named(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _clear(links: Path) -> None:
    """Remove links that nobody has used."""
    for path in links.glob("*"):
        path.unlink(missing_ok=True)
