"""The top of every command: the one ``except``, the exit codes, the log."""

from __future__ import annotations

import functools
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import ParamSpec

import typer
from rich.console import Console
from rich.markup import escape

from relay.errors import Interrupted, RelayError, plain
from relay.files import disk_full
from relay.logs import FORM, LogFile, PlainFormatter, no_noise, to_log

P = ParamSpec("P")
REFUSED = 3
NEWLINE = "\n"
errors = Console(stderr=True)
DISK = "Is the disk full, a stick pulled out, a folder not yours to write? Then run the same command again."
ROOM = "Make room there, then run the same command again: what was finished before is kept."
_held: list[ExitStack] = []
"""What the command holds, to be let go at its end."""
log = logging.getLogger("relay")
log.addHandler(logging.NullHandler())


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn what goes wrong in a command into one message and an exit code (0, 1, 2, 3; 130 when stopped)."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with no_noise(_warn), ExitStack() as held:
                _held.append(held)
                function(*args, **kwargs)
        except KeyboardInterrupt as error:
            fail(Interrupted("stopped"), error)
        except RelayError as error:
            fail(error, error)
        except OSError as error:
            full = disk_full(error, Path.cwd())
            fail(RelayError(full, ROOM) if full else RelayError(str(error), DISK), error)
        except Exception:
            log.exception("unexpected")
            raise

    return guarded


def fail(error: RelayError, cause: BaseException) -> None:
    """Print what happened and what to do, and leave with the error's exit code.

    Raises:
        typer.Exit: always.
    """
    log.error("%s", error, exc_info=cause)
    word = "stopped" if isinstance(error, Interrupted) else "error"
    if error.exit_code == REFUSED:  # the class is the heading under which the documents tell more
        word = f"refused ({type(error).__name__})"
    for head, text in ((f"[bold red]{word}:[/]", str(error)), ("[bold]what to do:[/]", error.advice())):
        errors.print(f"{head} {escape(plain(text, keep=NEWLINE))}", highlight=False, soft_wrap=True)
    raise typer.Exit(error.exit_code) from None


def _warn(text: str) -> None:
    errors.print(f"[bold yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True)


def hold(lock: AbstractContextManager[None]) -> None:
    """Hold a lock until the command ends."""
    _held[-1].enter_context(lock)


def log_to(file: Path, verbose: bool) -> None:
    """Write the log to a file, and with ``verbose`` to the screen as well; warnings of libraries go there, too."""
    to_log(LogFile(file))
    if verbose:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(PlainFormatter(FORM))
        to_log(screen)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
