"""Log files that are safe to look at in a terminal."""

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
    """A message and its traceback may quote a file from elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        return plain(super().format(record), keep="\n")


class LogFile(logging.FileHandler):
    """A log file. On a full disk it ends, without a word: what is done about it is said where it matters."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, encoding="utf-8")
        self.setFormatter(PlainFormatter(FORM))

    def handleError(self, record: logging.LogRecord) -> None:
        """The disk's errors are left out; others are faults of ours, and shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """What can't be written any more is lost."""
        with suppress(OSError):
            super().close()


class ShowWarning(logging.Handler):
    """A library's warning as a line of ours, each once."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self.show, self.shown = show, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Its first line; the file and the line it comes from are of no use to a user."""
        _, _, said = plain(record.getMessage(), keep="\n").partition("Warning: ")
        first = said.strip().partition("\n")[0]
        if first and first not in self.shown:
            self.shown.add(first)
            self.show(first)


@contextmanager
def no_noise(show: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, what libraries have to say goes to the log: warnings, and the ends of their threads.

    Args:
        show: tells the user of a warning while there is no log file.
    """
    handler, hook, before = ShowWarning(show), threading.excepthook, list(WARNINGS.handlers)
    logging.captureWarnings(True)
    threading.excepthook = lambda args: log.error(
        "a thread ended: %s", args.exc_value, exc_info=args.exc_value or False
    )  # whoever waits for it raises the same error
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
    """Let a handler have what relay logs, and the warnings of libraries, which are no longer shown."""
    log.addHandler(handler)
    for shown in [found for found in WARNINGS.handlers if isinstance(found, ShowWarning)]:
        WARNINGS.removeHandler(shown)
    WARNINGS.addHandler(handler)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While this lasts, what relay logs goes to a file as well."""
    handler = LogFile(path)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
