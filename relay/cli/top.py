"""The outermost layer of every command: the only ``except``, the exit codes, the log."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import ParamSpec

import typer
from rich.console import Console
from rich.markup import escape

from relay import registry
from relay.errors import Interrupted, RelayError, UserError, shown
from relay.files import disk_full
from relay.logs import FORM, LogFile, PlainFormatter, no_noise, to_log

P = ParamSpec("P")


class _Running(ExitStack):
    """What a command holds, to be released at its end; and whether it resumes if it is stopped and run again."""

    resumes = False


REFUSED = 3
errors = Console(stderr=True, emoji=False)
MAX_MESSAGE = 900
MEMORY = "Close other programs, or use less memory: reduce batch_size, patch_size or num_workers."
CURES = {
    errno.EACCES: "You don't have permission to read or write there. Change the permissions, or name another folder.",
    errno.EPERM: "You don't have permission to do that there. Change the permissions, or name another folder.",
    errno.ENOENT: "Check the path: something in it isn't there. If it is on a stick, plug it in.",
    errno.ENOTDIR: "There is a file where a folder is needed. Move it away, or name another folder.",
    errno.EROFS: "That disk is read-only. Remove the stick's write protection, or name another folder.",
    errno.EMFILE: "Too many files are open. Allow more (ulimit -n 4096), then run the same command again.",
    errno.EFBIG: "Files can't be that large there: at most 4 GiB on FAT32, or what ulimit -f says. Use another disk.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
    errno.EIO: "The disk or stick does not respond. Plug it in, or use another. Then run the command again.",
}
"""Advice for errors from the operating system."""
ELSE = "Check that the stick is plugged in and that you may use the folder. Then run the same command again."
ROOM = "Free some space there, then run the same command again."
RESUMES = {
    True: "Run the same command again: it resumes from the last saved state.",
    False: "Run the same command again: it begins from the start.",
}
"""Advice after a command was stopped: by whether it resumes."""
NEW_OBJECTS = 50_000
"""Python looks for garbage whenever there are this many objects more. By default it is 700, and importing Lightning and
monai makes hundreds of thousands that stay; steps leave no garbage to look for."""
_held: list[_Running] = []
"""What runs: a command, and those that it has called."""
log = logging.getLogger("relay")
log.addHandler(logging.NullHandler())


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn what goes wrong in a command into one message and an exit code (0, 1, 2, 3; 130 when stopped)."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        gc.set_threshold(NEW_OBJECTS)
        umask, held = _keep_private(), _Running()
        _held.append(held)
        try:
            with no_noise(warn), held:
                function(*args, **kwargs)
        except KeyboardInterrupt as error:
            fail(Interrupted("by Ctrl-C or the system", RESUMES[held.resumes]), error)
        except RelayError as error:
            fail(error, error)
        except BrokenPipeError:
            _hush()
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise  # typer's own ways to exit
        except OSError as error:
            full = disk_full(error, Path.cwd())
            room = f"{ROOM[:-1]}: finished work is kept." if held.resumes else ROOM
            fail(RelayError(f"{full} now", room) if full else _of_the_system(error), error)
        except MemoryError as error:
            fail(RelayError("there is not enough memory", MEMORY), error)
        except Exception as error:
            fail(_loop(error) or registry.fault(error) or _unexpected(error), error)
        finally:
            _held.pop()
            os.umask(umask)

    return guarded


def _keep_private() -> int:
    """Make everything a command writes private to its user, and keep keys and images out of core files.

    Returns:
        The previous mask of file modes.
    """
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    return os.umask(0o077)


def _of_the_system(error: OSError) -> RelayError:
    """An error for what the system refused, with advice that fits the cause."""
    where = f" ({error.filename})" if error.filename else ""
    return RelayError(f"{error.strerror or error}{where}", CURES.get(error.errno or 0, ELSE))


def _loop(error: Exception) -> UserError | None:
    """An error for a link that leads to itself, which ``Path.resolve`` reports in words of its own."""
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from"):
        return UserError(str(error), "That path is a link that leads to itself. Name another, or remove the link.")
    return None


def _unexpected(error: Exception) -> RelayError:
    """An error for a bug in the program: one message, and a file with the details."""
    said = str(error) or "no message"
    where = _kept(error)
    advice = f"This is a bug in relay, not a problem with your files. Report it with {where or 'the output of -v'}."
    return RelayError(f"unexpected {type(error).__name__}: {said[:MAX_MESSAGE]}", advice)


def _kept(error: Exception) -> str | None:
    """The file with the traceback: the log, else a separate file; None if none can be written."""
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            return handler.baseFilename
    try:
        with tempfile.NamedTemporaryFile("w", prefix="relay-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
            return file.name
    except OSError:
        return None


def _hush() -> None:
    """The reader of the output (a pager, ``head``) has exited: print nothing more.

    Raises:
        typer.Exit: always.
    """
    with contextlib.suppress(OSError, ValueError):  # so that Python does not complain on exit as well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(1) from None


def fail(error: RelayError, cause: BaseException) -> None:
    """Print what happened and what to do, and exit with the error's code.

    Raises:
        typer.Exit: always.
    """
    log.error("%s", error, exc_info=cause)
    word = "stopped" if isinstance(error, Interrupted) else "error"
    if error.exit_code == REFUSED:  # the class is the heading in the documentation
        word = f"refused ({type(error).__name__})"
    for head, text in ((f"[bold red]{word}:[/]", str(error)), ("[bold]what to do:[/]", error.advice())):
        errors.print(f"{head} {escape(shown(text))}", highlight=False, soft_wrap=True)
    raise typer.Exit(error.exit_code) from None


def warn(text: str) -> None:
    """Show a warning."""
    errors.print(f"[bold yellow]warning:[/] {escape(shown(text))}", highlight=False, soft_wrap=True)


def resumes() -> None:
    """Say that the command resumes if it is stopped and run again."""
    _held[-1].resumes = True


def hold(lock: AbstractContextManager[None]) -> None:
    """Hold a lock until the command ends."""
    _held[-1].enter_context(lock)


def log_to(file: Path, verbose: bool) -> None:
    """Log to a file, and with ``verbose`` also to the screen; the warnings of libraries are logged, too."""
    to_log(LogFile(file))
    if verbose:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(PlainFormatter(FORM))
        to_log(screen)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
