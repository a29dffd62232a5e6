"""Log files that are safe to view in a terminal."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.errors import plain

log = logging.getLogger("relay")
WARNINGS = logging.getLogger("py.warnings")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class PlainFormatter(logging.Formatter):
    """Makes a message and its traceback safe to print: they may quote untrusted files."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        return plain(super().format(record), keep="\n")


class LogFile(logging.FileHandler):
    """A log file. On a full disk, it stops silently: the writes that matter report the problem."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, encoding="utf-8")
        self.setFormatter(PlainFormatter(FORM))

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore disk errors; others are our bugs, and shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file; anything that can't be written any more is lost."""
        with suppress(OSError):
            super().close()


class ShowWarning(logging.Handler):
    """Shows each warning from a library once, as one of our lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self.show, self.shown = show, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Show its first line; the source file and line are of no use to people."""
        _, _, said = plain(record.getMessage(), keep="\n").partition("Warning: ")
        first = said.strip().partition("\n")[0]
        if first and first not in self.shown:
            self.shown.add(first)
            self.show(first)


@contextmanager
def no_noise(show: Callable[[str], None]) -> Iterator[None]:
    """In this context, messages from libraries go to the log: warnings, and errors that end their threads.

    Args:
        show: shows a warning to the user while there is no log file.
    """
    handler, hook, before = ShowWarning(show), threading.excepthook, list(WARNINGS.handlers)
    logging.captureWarnings(True)
    threading.excepthook = lambda args: log.error(
        "a thread ended: %s", args.exc_value, exc_info=args.exc_value or False
    )  # the code that joins the thread raises the same error
    WARNINGS.propagate = False
    WARNINGS.addHandler(handler)
    try:
        yield
    finally:
        WARNINGS.handlers[:] = before
        WARNINGS.propagate = True
        threading.excepthook = hook
        logging.captureWarnings(False)


def to_log(handler: logging.Handler) -> None:
    """Send relay's log messages to a handler, and library warnings, which are no longer shown."""
    log.addHandler(handler)
    for shown in [found for found in WARNINGS.handlers if isinstance(found, ShowWarning)]:
        WARNINGS.removeHandler(shown)
    WARNINGS.addHandler(handler)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """In this context, relay's log messages also go to a file."""
    handler = LogFile(path)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
