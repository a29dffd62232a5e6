"""A bundle as a file: opened and scanned, before anything in it is believed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from relay.bundle import container, documents, manifest, seal
from relay.bundle.container import Entry, Limits
from relay.bundle.memory_card import MemoryCard
from relay.bundle.stick import open_volumes
from relay.errors import UserError
from relay.files import read_bytes
from relay.trust import MAX_BYTES, BadContainer, Keys, PolicyBreach, Refused, parse

MAX_STATEMENT = 2**18
"""Largest signed statement, in bytes: there may be hundreds in a bundle."""
SMALL = {manifest.STATEMENT: MAX_STATEMENT, **documents.LARGEST}
"""Bytes of the documents that are read whole and that there may be many of, by the last part of their name."""


@dataclass(frozen=True)
class Opened:
    """A bundle that has the right form. Whose it is, nobody knows yet.

    Attributes:
        size: bytes of the file on the stick, all volumes together.
        seal: who can open it; None: anybody, it is not sealed.
        entries: by name, in order.
    """

    file: IO[bytes]
    size: int
    seal: seal.Seal | None
    entries: Mapping[str, Entry]
    layout: manifest.Layout

    @property
    def sealed(self) -> bool:
        """Whether only its recipients can open it."""
        return self.seal is not None

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every entry, by name."""
        return {name: entry.size for name, entry in self.entries.items()}

    def read(self, name: str) -> bytes:
        """A small entry, whole.

        Raises:
            BadContainer: it is too large for one.
        """
        return container.read(self.file, self.entries[name], SMALL.get(name.rpartition("/")[2], MAX_BYTES))

    @property
    def rosters(self) -> Iterator[bytes]:
        """The rosters' envelopes, oldest version first; each is read when it is asked for."""
        return (self.read(manifest.roster(version)) for version in self.layout.rosters)

    @property
    def chain(self) -> Iterator[dict[str, bytes]]:
        """The records of the earlier legs, oldest first: each its documents by name, read when it is asked for."""
        return self.layout.links(self.read)

    @property
    def documents(self) -> dict[str, bytes]:
        """The JSON documents beside this leg's claim, by name."""
        return {name: self.read(name) for name in self.layout.documents}

    def digests(self, folder: Path | None = None) -> dict[str, str]:
        """SHA-256 of every entry but statement and manifest; with a folder, all files are written there as well."""
        found = {}
        for name, entry in self.entries.items():
            digest = hashlib.sha256()
            with _writer(folder, name) as target:
                for chunk in container.data(self.file, entry):
                    digest.update(chunk)
                    if target is not None:
                        target.write(chunk)
            found[name] = digest.hexdigest()
        return {name: value for name, value in found.items() if name not in (manifest.STATEMENT, manifest.MANIFEST)}


@contextmanager
def _writer(folder: Path | None, name: str) -> Iterator[IO[bytes] | None]:
    if folder is None:
        yield None
        return
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("xb") as target:
        yield target


@contextmanager
def opened(path: Path, keys: Keys | None, spool: Path, limit: int) -> Iterator[Opened]:
    """Open a bundle, unseal it if it is sealed, and check its form.

    Args:
        path: the file, or one of its volumes.
        keys: to open the seal; None where there are none.
        spool: a folder of this site's own, where a copy, unsealed, lies until the end of the block: a stick can change.
        limit: largest size in bytes.

    Raises:
        UserError: there is no such file; or it is sealed and there are no keys.
        Refused: it can't be opened, or is not of the form of a bundle.
    """
    with open_volumes(path) as file:
        head = file.read(seal.HEADER)
        sealed = seal.seal_of(head) if seal.is_sealed(head) else None
        file.seek(0)
        other = len(head) >= len(container.MAGIC) and not head.startswith(container.MAGIC)
        if other and not sealed:  # said before it is copied: it may be large
            raise BadContainer(f"{path.name} is neither a sealed bundle nor an open one")
        if file.size > limit:
            raise PolicyBreach(
                f"{path.name} has {file.size} bytes; the roster here allows {limit}",
                "If the coordinator has allowed more since, install that roster first (relay roster install).",
            )
        if sealed is not None and keys is None:
            raise UserError(f"{path} is sealed; a site's keys are needed to look inside", "Give --home.")
        spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool) as plain:
            if sealed is not None and keys is not None:
                size = seal.unseal(file, plain, keys.sealing, limit)
            else:
                size = _copied(file, plain, limit)
            try:
                yield _scanned(plain, size, file.size, sealed, limit)
            except Refused as error:  # people photograph messages: they are to say which file it was
                raise type(error)(f"{path.name}: {error}", error.advice()) from error


def _copied(file: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy a bundle off the stick, so that all that follows looks at the same bytes; returns how many.

    Raises:
        BadContainer: more than the limit.
    """
    size = 0
    while chunk := file.read(container.CHUNK):
        size += len(chunk)
        if size > limit:
            raise BadContainer(f"the bundle is larger than the {limit} bytes that are allowed")
        target.write(chunk)
    return size


def _scanned(file: IO[bytes], size: int, outer: int, sealed: seal.Seal | None, limit: int) -> Opened:
    entries = container.scan(file, size, Limits(total=limit))
    layout = manifest.names_fit([entry.name for entry in entries])
    return Opened(file, outer, sealed, {entry.name: entry for entry in entries}, layout)


def layout_of(folder: Path) -> manifest.Layout:
    """The layout of a folder that holds a bundle's files; other files in it are not looked at."""
    rosters = sorted(int(path.name[:4]) for path in folder.glob("rosters/[0-9][0-9][0-9][0-9].dsse.json"))
    legs = len(list(folder.glob("chain/[0-9][0-9][0-9][0-9]")))
    memory, cumulative = (
        (folder / name).is_file() for name in documents.CARDS
    )  # they stay where weights are forgotten
    kept = tuple(k for k in range(1, legs + 1) if (folder / manifest.earlier(k, documents.CARDS[0])).is_file())
    return manifest.Layout(rosters, legs, memory, cumulative, kept)


def cards_in(folder: Path) -> dict[str, MemoryCard]:
    """The cards of all memories in such a folder, by the entry of each memory's tensors.

    Raises:
        BadDocument: one is not of the known form.
    """
    names = {name: manifest.card_of(name) for name in layout_of(folder).memories}
    return {name: parse(MemoryCard, read_bytes(folder / card), card) for name, card in names.items()}


def clear(folder: Path) -> Path:
    """An empty folder of that name; what was in it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
