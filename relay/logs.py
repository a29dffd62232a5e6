"""Log files that are safe to view in a terminal, and name no image, patient or folder of images.

A log is what people send to somebody who helps. The screen names the images that are wrong; their log does not.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.errors import plain
from relay.files import make_folder

log = logging.getLogger("relay")
WARNINGS = logging.getLogger("py.warnings")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


WORD = re.compile(r"[^\s,;()'\"]+")
"""What may be a name or a path in a line: names with spaces are looked for one by one."""
SHORTEST = 4
IMAGE, FOLDER = "[image]", "[folder]"
_words: set[str] = set()
_phrases: dict[str, str] = {}


def hide(names: Iterable[str], folders: Iterable[Path] = ()) -> None:
    """Keep names of images and patients, and folders, out of every log file from now on. Names of up to three
    characters stay: they are also numbers and words."""
    for name in (name for name in names if len(name) >= SHORTEST):
        if WORD.fullmatch(name):
            _words.add(name)
        elif name.strip():
            _phrases[name] = IMAGE
    _phrases.update({str(folder): FOLDER for folder in folders if len(folder.parts) > 1})


def without_names(text: str) -> str:
    """A text without what :func:`hide` was told of."""
    for phrase in sorted(_phrases, key=len, reverse=True):
        text = text.replace(phrase, _phrases[phrase])
    return WORD.sub(lambda found: _hidden(found[0]), text) if _words or _phrases else text


def _hidden(word: str) -> str:
    """A word without the names in it: a name, or a path of which one part is a name."""
    if word.startswith(FOLDER):
        return FOLDER + (":" if word.endswith(":") else "")
    bare = word.rstrip(".:")
    parts = [part for part in re.split(r"[/\\]", bare) if part]
    names = (name for part in parts for name in (part, part.partition(".")[0], part.rpartition("#")[0]))
    return IMAGE + word[len(bare) :] if any(name in _words for name in names) else word


class PlainFormatter(logging.Formatter):
    """Makes a message and its traceback safe to print: they may quote untrusted files."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        return plain(super().format(record), keep="\n")


class NamelessFormatter(PlainFormatter):
    """Also takes the names of images and patients out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        return without_names(super().format(record))


class LogFile(logging.FileHandler):
    """A log file. On a full disk, it stops silently: the writes that matter report the problem."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        super().__init__(path, encoding="utf-8")
        self.setFormatter(NamelessFormatter(FORM))

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
