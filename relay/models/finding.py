"""Find models: in a folder with all its subfolders, or at one path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from relay.bundle import FACTS, STATEMENT, find, manifest, open_volumes
from relay.errors import UserError, some
from relay.files import expanded
from relay.models import made
from relay.trust import Incomplete

Kind = Literal["bundle", "unpacked", "run", "adopted", "made"]
ADOPTED, TUNED = "adopted.json", "tuned.safetensors"
"""What relay adopt writes; the weights are only there if they are no other model's."""
MOST = 2000
"""How many models are listed at most."""
PASSED = ("handoff", "tensorboard", "results", "splits", "logs")
"""Folders of a run that hold no further models: ``handoff`` has the same ones again, signed with temporary keys."""
KINDS = (
    "Name a bundle, a leg's folder in a run (exps/CONFIG/NOTE/checkpoints/LEG), what a site adopted "
    "(exps/CONFIG/NOTE/adopted/SITE), a leg received or signed here, or a file made with relay models."
)


@dataclass(frozen=True)
class Found:
    """A model's file or folder.

    Attributes:
        kind: ``bundle``: packed, on a stick; ``unpacked``: received or signed; ``run``: the handover of a leg that was
            run; ``adopted``: a site's own model that was fine-tuned there; ``made``: a file made with relay models.
    """

    kind: Kind
    path: Path


@dataclass
class Search:
    """What a search came upon.

    Attributes:
        models: at most :data:`MOST`.
        skipped: folders that can't be read, and why.
    """

    models: list[Found] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    more: bool = False


def search(folders: Iterable[Path]) -> Search:
    """Everything in these folders and their subfolders that is a model; hidden folders and links are passed over.

    Raises:
        UserError: one of the folders can't be read.
    """
    done = Search()
    found: dict[Path, Found] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}", "Check the path, and that the stick is plugged in.")
        for one in islice(_walk(folder, done.skipped), MOST + 1):
            found.setdefault(one.path.resolve(), one)
    done.models, done.more = [*found.values()][:MOST], len(found) > MOST
    return done


def _walk(folder: Path, skipped: list[str]) -> Iterator[Found]:
    def failed(error: OSError) -> None:
        skipped.append(f"{error.filename}: {error.strerror}")

    for where, folders, files in os.walk(folder, onerror=failed):
        here, names = Path(where), set(files)
        if one := _of_folder(here, names):
            folders.clear()
            yield one
            continue
        passed = PASSED if "checkpoints" in folders else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in passed)
        yield from _of_files(here, names)


def _of_folder(folder: Path, names: set[str]) -> Found | None:
    """The model that a folder is; None if it is none."""
    if {STATEMENT, manifest.MANIFEST} <= names:
        return Found("unpacked", folder)
    if {ADOPTED, TUNED} <= names:
        return Found("adopted", folder)
    return Found("run", folder) if {FACTS, manifest.HANDOVER} <= names else None


def _of_files(folder: Path, names: set[str]) -> Iterator[Found]:
    """The bundles in a folder, by their names, and the files made with relay models."""
    try:
        yield from (Found("bundle", bundle.path) for bundle in reversed(find(folder)))
    except UserError:  # it vanished: the walk says so
        return
    for name in sorted(names):
        if name.endswith(made.ENDING) and not name.startswith(".") and made.is_made(folder / name):
            yield Found("made", folder / name)


def located(given: Path) -> Found:
    """The one model at a path.

    Raises:
        UserError: there is none, or there are several.
    """
    path = expanded(given)
    if path.is_dir():
        return _in_folder(path)
    if path.name in (manifest.MODEL, TUNED, "last.ckpt"):
        return located(path.parent)
    if path.name.endswith(made.ENDING):
        made.read_made(path)
        return Found("made", path)
    with suppress(Incomplete), open_volumes(path):  # raises if there is none; reading a damaged one says what is wrong
        pass
    return Found("bundle", path)


def _in_folder(path: Path) -> Found:
    for folder in (path, path / "handover"):
        if folder.is_dir() and (one := _of_folder(folder, {item.name for item in folder.iterdir()})):
            return one
    found = search([path]).models
    if not found:
        raise UserError(f"there is no model in {path}", KINDS)
    if len(found) > 1:
        names = some([str(one.path) for one in found], between="\n  ")
        raise UserError(f"{path} has {len(found)} models; which one?\n  {names}", "Name one of them.")
    return found[0]
