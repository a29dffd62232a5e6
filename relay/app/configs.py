"""The configs that the page may change: those under ``configs/`` where commands run."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from relay.app.desk import Desk
from relay.app.values import Part, parts_of
from relay.config import MAX_BYTES, fault, parse
from relay.errors import ConfigError, Problem, RelayError, UserError
from relay.files import read_bytes, write_text
from relay.plan import read_config

FOLDER = "configs"
CHANGED = (
    "Nothing was written. Your text is below: save it under another name, or open the config again to see what it "
    "is now."
)
_writing = threading.Lock()


@dataclass(frozen=True)
class Opened:
    """A config's text as it was opened; ``digest`` of the file tells later whether it was changed; empty for none."""

    name: str
    text: str
    digest: str


@dataclass(frozen=True)
class Looked:
    """A config's text after it was checked: its problems, each with its line if known, and its parts; None for a text
    that is no config at all."""

    problems: Sequence[tuple[Problem, int | None]]
    parts: Sequence[Part] | None


def names(desk: Desk) -> tuple[list[str], list[str]]:
    """The configs, by name, and the files that can't be opened because of their names."""
    folder = desk.cwd / FOLDER
    found = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    wrong = [name for name in found if any(map(fault, name.split("/")))]
    return [name for name in found if name not in wrong], wrong


def choices(desk: Desk) -> list[str]:
    """The configs that a form offers: the one that the page was started with, then those under ``configs/``."""
    there = [name for name in names(desk)[0] if name != "paths.local"]
    return list(dict.fromkeys([*([desk.config] if desk.config else []), *there]))


def file_of(name: str) -> str:
    """A config's file as a command is given it."""
    return f"{FOLDER}/{name}.yaml"


def place(desk: Desk, name: str) -> Path:
    """The file of a config, with links followed.

    Raises:
        UserError: it is not in ``configs/``, or its name can't be a file's.
    """
    for part in name.split("/"):
        if why := fault(part):
            raise UserError(
                f"{name!r} can't name a config: {part!r} {why}" if part else "a config needs a name",
                "Give a plain name, such as: thorax, or: north/thorax",
            )
    path = desk.roots.inside(desk.cwd / file_of(name))
    if not path.is_relative_to((desk.cwd / FOLDER).resolve()):
        raise UserError(f"{file_of(name)} is a link that leads out of {FOLDER}/", "Copy the file in its place.")
    return path


def opened(desk: Desk, name: str) -> Opened:
    """A config, as it is on the disk.

    Raises:
        UserError: there is none, or it can't be shown as text.
    """
    data, text = _read(place(desk, name), file_of(name))
    return Opened(name, text, sha256(data).hexdigest())


def copied(desk: Desk, name: str, source: str) -> Opened:
    """A new config, not saved yet, with the text of a file inside the folders that may be opened.

    Raises:
        UserError: there is a config of this name; or the file can't be read.
    """
    if place(desk, name).exists():
        raise UserError(f"{file_of(name)} exists", "Give the copy another name.")
    return Opened(name, _read(desk.roots.inside(source), source)[1], "")


def _read(path: Path, said: str) -> tuple[bytes, str]:
    """A file's bytes and its text; ``said`` is its name in messages."""
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise UserError(f"{said} has more than {MAX_BYTES} bytes, too many for a config", "Choose another.")
        data = read_bytes(path)
        return data, lines_of(data.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"there is no config {said}", "Choose one from the list: Data.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{said} is no UTF-8 text", "Save it as UTF-8 in an editor.") from error
    except OSError as error:
        raise UserError(f"{said} can't be read: {error.strerror}", "Choose another.") from error


def lines_of(text: str) -> str:
    """A text with line ends as in our files; browsers send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def save(desk: Desk, new: Opened) -> None:
    """Write a config in one step, if its file is still as it was opened.

    Raises:
        UserError: it is not, or the text is too long; nothing was written.
    """
    path = place(desk, new.name)
    if len(new.text.encode()) > MAX_BYTES:
        raise UserError(
            f"a config has at most {MAX_BYTES} bytes; this text has more", "Shorten it. Nothing was written."
        )
    with _writing:
        now = sha256(read_bytes(path)).hexdigest() if path.is_file() else ""
        if now != new.digest:
            what = "was changed since you opened it" if now and new.digest else "exists" if now else "was removed"
            raise UserError(f"{file_of(new.name)} {what}", CHANGED)
        write_text(path, new.text)


def look(name: str, text: str) -> Looked:
    """Check a text as if it were saved as ``name``: all that ``relay train`` checks in its first second. No image is
    read, and nothing is written."""
    if (size := len(text.encode())) > MAX_BYTES:
        return Looked([(Problem("the text", f"{size} bytes", f"must have at most {MAX_BYTES} bytes"), None)], None)
    try:
        blocks = parse(text, file_of(name))
    except ConfigError as error:
        return Looked([(problem, _said_line(problem)) for problem in error.problems], None)
    problems: Sequence[Problem] = ()
    try:
        config = read_config(Path(file_of(name)), name, text=text)
        blocks = config.reading.config
        config.plan()
    except ConfigError as error:
        problems = error.problems
    except RelayError as error:
        problems = [Problem("the config", None, str(error), cure=error.advice())]
    parts = parts_of(text, blocks)
    return Looked([(problem, _line(problem, parts)) for problem in problems], parts)


def _said_line(problem: Problem) -> int | None:
    found = re.match(r"line (\d+)", problem.allowed)
    return int(found[1]) if found else None


def _line(problem: Problem, parts: Sequence[Part]) -> int | None:
    """The line of a problem's value; of what is missing, none."""
    if problem.file is not None:
        return None
    lines: dict[str, Any] = {value.path: value.line for part in parts for value in part.values}
    inside = [path for path in lines if path == problem.path or problem.path.startswith((f"{path}.", f"{path}["))]
    return lines[max(inside, key=len)] if inside else _said_line(problem)
