"""Software of unknown provenance: whatever relay requires, directly or not, from the packages' own metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from email import message_from_string
from importlib.metadata import Distribution
from pathlib import Path

from relay import installed
from relay.dossier.quoting import HERE, Quote, said
from relay.errors import UserError
from relay.files import read_bytes
from relay.papers import Fact, Source
from relay.trust import digest

PACKAGES = "packages"
"""The root of files in the folder of installed packages; if there are several folders, a number follows."""
MAKERS = ("Author", "Author-email", "Maintainer", "Maintainer-email")
LICENCES = ("License-Expression", "License")
LONGEST = 80
"""A licence's field may hold its whole text."""


def ourselves() -> Iterator[Fact]:
    """relay's own package."""
    return _item("relay", installed.ourselves(), {}, roots())


def listed(lock: Path | None) -> Iterator[Fact]:
    """Every package: version, maker, licence, and the version in the lock.

    Raises:
        UserError: the lock can't be read.
    """
    locked = _locked(lock) if lock else {}
    folders = roots()
    for name, package in sorted(installed.required().items()):
        yield from _item(name, package, locked, folders)
    if lock is None:
        yield Fact("Lock", None, hint="the versions that were tested together; there is no lock here")


def roots() -> dict[Path, str]:
    """The folders of installed packages, that of relay's own first, each with the name of its root."""
    packages = (installed.ourselves(), *installed.required().values())
    folders = dict.fromkeys(Path(str(package.locate_file(""))) for package in packages)
    return {folder: f"{PACKAGES} {n}" if n > 1 else PACKAGES for n, folder in enumerate(folders, 1)}


def _item(name: str, package: Distribution, locked: Mapping[str, Quote], folders: Mapping[Path, str]) -> Iterator[Fact]:
    about = _metadata(package, folders)
    made = next((about[key] for key in MAKERS if key in about), None)
    licence = next((about[key] for key in LICENCES if key in about), None)
    version, pinned = about.get("Version"), locked.get(name)
    same = version and pinned and str(version.value).split("+")[0] == str(pinned.value).split("+")[0]
    told = (
        (version, "{}"),
        (made, "by {}"),
        (licence, "licence {}"),
        (pinned, "in the lock {}" if same else "but in the lock {}"),
    )
    there = [(quote, form) for quote, form in told if quote]
    yield said(name, *(quote for quote, _ in there), form="; ".join(form for _, form in there))
    if made is None:
        yield Fact(f"{name}: manufacturer", None, hint="its metadata names none")


def _metadata(package: Distribution, folders: Mapping[Path, str]) -> dict[str, Quote]:
    """The short fields of a package's metadata; none if its file is not where it should be."""
    file = next((file for file in package.files or () if file.match("*.dist-info/METADATA")), None)
    path = Path(str(package.locate_file(file))) if file else None
    if file is None or path is None or not path.is_file():
        return {}
    data = read_bytes(path)
    source = Source(file.as_posix(), digest(data), root=folders[Path(str(package.locate_file("")))])
    fields = {key: value.strip() for key, value in message_from_string(data.decode("utf-8", "replace")).items()}
    short = {key: value for key, value in fields.items() if value and len(value) <= LONGEST and value != "UNKNOWN"}
    return {key: Quote(value, replace(source, place=key)) for key, value in short.items()}


def _locked(lock: Path) -> dict[str, Quote]:
    """The versions that a lock pins, each with its line."""
    from packaging.requirements import InvalidRequirement

    data = read_bytes(lock)
    try:
        lines = installed.parse_lock(data.decode())
    except (InvalidRequirement, UnicodeDecodeError) as error:
        raise UserError(f"{lock} is not a lock: {error}", "Give a file of lines name==version: --lock FILE.") from error
    source = Source(lock.name, digest(data), root=HERE)
    return {name: Quote(version, replace(source, place=f"line {n}")) for name, (n, version) in lines.items()}
