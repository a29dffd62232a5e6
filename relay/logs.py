"""Log files that are safe to look at in a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.errors import plain

FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class PlainFormatter(logging.Formatter):
    """A message and its traceback may quote a file from elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        return plain(super().format(record), keep="\n")


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While this lasts, what relay logs goes to a file as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log, handler = logging.getLogger("relay"), logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(PlainFormatter(FORM))
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
