"""Where the hand-over commands find a site's home, store, config, keys and files."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli import ask
from relay.errors import UserError
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.config import Handoff
    from relay.exchange import StudyStore
    from relay.plan import Leg
    from relay.trust import Keys


def store_of(home: Path, study: str | None) -> StudyStore:
    """The store of a study; by default, of the only one known in the home.

    Raises:
        UserError: there are none or several, or the name can't be a study's.
    """
    from relay.exchange import StudyStore

    if study is not None:
        store = StudyStore(home, check_study(study))
        _ = store.coordinator  # if this one is unknown, its error lists those that are known
        return store
    known = sorted(path.parent.name for path in home.glob("studies/*/coordinator.json"))
    if len(known) == 1:
        return StudyStore(home, known[0])
    if not known:
        raise UserError(
            f"no study is known in {home}",
            "Check that it is the right folder (--home). A site starts with the coordinator's invitation: relay "
            "request. A coordinator starts with: relay invite STUDY. A hospital with which a model was shared starts "
            "with the roster that came with it: relay roster install ROSTER.",
        )
    raise UserError(f"several studies are known in {home}: {', '.join(known)}", "Choose one: -s STUDY.")


def check_study(name: str) -> str:
    """The name of a study, as given.

    Raises:
        UserError: it can't be one.
    """
    from pydantic import TypeAdapter

    from relay.config import plain_name
    from relay.trust import Slug

    try:
        plain_name(TypeAdapter(Slug).validate_python(name))
    except ValueError as error:  # pydantic's error is one, too
        raise UserError(
            f"'{name}' can't be the name of a study",
            "Use at most 40 of a-z, 0-9 and '-', with no '-' at either end. "
            "Con, nul and similar names are reserved on Windows.",
        ) from error
    return name


@dataclass(frozen=True)
class Deployment:
    """What ``-c`` gives: the ``handoff`` block, the leg, and the config's name, which names the folder of its runs."""

    handoff: Handoff
    leg: Leg
    name: str


def deployment(config: str | None, overrides: Sequence[str] = ()) -> Deployment | None:
    """The deployment given with ``-c``; None if it is not given.

    Raises:
        UserError: it has no ``handoff`` block, or has another problem.
    """
    if config is None:
        if overrides:
            raise UserError(
                f"{overrides[0]}: KEY=VALUE overrides a config, but none is given", "Give the config with -c."
            )
        return None
    from relay.cli import configs

    found = configs.find(config, overrides, say=False)
    study = found.plan(train=False)
    if study.handoff is None:
        raise UserError(
            f"{config} has no current_tasks.handoff",
            "Give a deployment's config (current_tasks.mode: deployment), or --home and --study instead of -c.",
        )
    return Deployment(study.handoff, study.legs[0], found.name)


def store_for(found: Deployment | None, home: Path | None, study: str | None) -> StudyStore:
    """The store given by the options, else by the config."""
    if found is None:
        return store_of(home_of(home), study)
    return store_of(home_of(home or found.handoff.key), study or found.handoff.study)


def path_and_overrides(words: Sequence[str] | None) -> tuple[Path | None, list[str]]:
    """The only path among a command's arguments, and its ``KEY=VALUE`` arguments.

    Raises:
        UserError: there are several paths.
    """
    overrides = [word for word in words or () if "=" in word and not Path(word).exists()]
    paths = [expanded(word) for word in words or () if word not in overrides]
    if len(paths) > 1:
        raise UserError(f"give one path, not {len(paths)}: {', '.join(map(str, paths))}")
    return (paths[0] if paths else None), overrides


def unlock(home: Path, passphrase_file: Path | None) -> Keys:
    """This site's keys, as :func:`relay.trust.keys.unlock` opens them."""
    from relay.trust import keys

    return keys.unlock(home, passphrase_file)


def passphrase_file_of(found: Deployment | None, given: Path | None) -> Path | None:
    """The option, else the value in the config."""
    named = found.handoff.passphrase_file if found else None
    return given or (Path(named) if named else None)


def is_sealed(bundle: Path) -> bool:
    """Whether a bundle is sealed, judging by its first bytes."""
    from relay.bundle import MAGIC, is_sealed as sealed, open_volumes

    with open_volumes(bundle) as file:
        return sealed(file.read(len(MAGIC)))


def read_file(path: Path) -> bytes:
    """A small file that was carried here.

    Raises:
        UserError: it can't be read or is too large, or it is a pipe or a device, which may have no end.
    """
    from relay.trust import MAX_BYTES

    try:
        kind = expanded(path).stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # reading a folder gives its own error
            raise UserError(f"{path} is not a file", "Copy it to a file first, and name that file.")
        with expanded(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path} can't be read: {error.strerror}", "Check the path and that the stick is plugged in."
        ) from error
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{path} has more than {MAX_BYTES} bytes",
            "Check that it is the right file: rosters, invitations, requests and receipts are small.",
        )
    return data


def folder_there(path: Path) -> Path:
    """A folder to write to. It is never created: the path of a missing stick looks like a folder to create.

    Raises:
        UserError: it does not exist.
    """
    folder = expanded(path)
    if not folder.is_dir():
        raise UserError(f"there is no folder {path}", "Plug in the stick, or create the folder first.")
    return folder


def put_file(folder: Path, name: str, data: bytes) -> Path:
    """Write a file that will be carried away, and say so."""
    from relay.bundle import writing_to
    from relay.files import open_to_others, write_bytes

    path = folder / name
    with writing_to(folder):
        write_bytes(path, data)
        open_to_others(path)
    ask.say(f"Written: {path}")
    return path
