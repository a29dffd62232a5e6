"""Open and scan a bundle, before anything in it is trusted."""

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
"""Largest signed statement, in bytes: a bundle may have hundreds."""
SMALL = {manifest.STATEMENT: MAX_STATEMENT, **documents.LARGEST}
"""Largest size, in bytes, of documents that are read whole and may be numerous, by the last part of their name."""


@dataclass(frozen=True)
class Opened:
    """A bundle with the right structure. Its author is not yet verified.

    Attributes:
        size: of the file on the stick, in bytes; all volumes together.
        seal: who can open it; None if it is not sealed and anyone can.
        entries: by name, in order.
    """

    file: IO[bytes]
    size: int
    seal: seal.Seal | None
    entries: Mapping[str, Entry]
    layout: manifest.Layout

    @property
    def sealed(self) -> bool:
        """Whether it is sealed, so that only its recipients can open it."""
        return self.seal is not None

    @property
    def sizes(self) -> dict[str, int]:
        """Size of every entry in bytes, by name."""
        return {name: entry.size for name, entry in self.entries.items()}

    def read(self, name: str) -> bytes:
        """All the data of a small entry.

        Raises:
            BadContainer: it is too large.
        """
        return container.read(self.file, self.entries[name], SMALL.get(name.rpartition("/")[2], MAX_BYTES))

    @property
    def rosters(self) -> Iterator[bytes]:
        """The rosters' envelopes, oldest version first; each is read on demand."""
        return (self.read(manifest.roster(version)) for version in self.layout.rosters)

    @property
    def share(self) -> bytes | None:
        """The envelope of the share, if it is one."""
        return self.read(manifest.SHARE) if self.layout.share else None

    @property
    def chain(self) -> Iterator[dict[str, bytes]]:
        """The records of the earlier legs, oldest first, each as its documents by name; each is read on demand."""
        return self.layout.links(self.read)

    @property
    def documents(self) -> dict[str, bytes]:
        """The JSON documents beside this leg's claim, by name."""
        return {name: self.read(name) for name in self.layout.documents}

    def digests(self, folder: Path | None = None) -> dict[str, str]:
        """SHA-256 of every entry that a manifest lists; with a folder, also write all files there."""
        found = {}
        for name, entry in self.entries.items():
            digest = hashlib.sha256()
            with _writer(folder, name) as target:
                for chunk in container.data(self.file, entry):
                    digest.update(chunk)
                    if target is not None:
                        target.write(chunk)
            found[name] = digest.hexdigest()
        return {name: value for name, value in found.items() if name not in manifest.UNLISTED}


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
    """Open a bundle, unseal it if it is sealed, and check its structure.

    Args:
        path: the file, or one of its volumes.
        keys: to open the seal; None if there are none.
        spool: one of this site's own folders, for an unsealed copy until the end of the block: a stick can change.
        limit: largest size, in bytes.

    Raises:
        UserError: there is no such file, or it is sealed and there are no keys.
        Refused: it can't be opened, or does not have the structure of a bundle.
    """
    with open_volumes(path) as file:
        head = file.read(seal.HEADER)
        sealed = seal.seal_of(head) if seal.is_sealed(head) else None
        file.seek(0)
        other = len(head) >= len(container.MAGIC) and not head.startswith(container.MAGIC)
        if other and not sealed:  # checked before copying: it may be large
            raise BadContainer(f"{path.name} is neither a sealed nor an unsealed bundle")
        if file.size > limit:
            raise PolicyBreach(
                f"{path.name} has {file.size} bytes; the roster here allows {limit}",
                "If the coordinator has since allowed more, first install that roster (relay roster install).",
            )
        if sealed is not None and keys is None:
            raise UserError(f"{path} is sealed; opening it needs a site's keys", "Give --home.")
        spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool) as plain:
            if sealed is not None and keys is not None:
                size = seal.unseal(file, plain, keys.sealing, limit)
            else:
                size = _copied(file, plain, limit)
            try:
                yield _scanned(plain, size, file.size, sealed, limit)
            except Refused as error:  # people photograph messages, so each must name the file
                raise type(error)(f"{path.name}: {error}", error.advice()) from error


def _copied(file: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy a bundle off the stick, so that every later step sees the same bytes; return how many.

    Raises:
        BadContainer: it exceeds the limit.
    """
    size = 0
    while chunk := file.read(container.CHUNK):
        size += len(chunk)
        if size > limit:
            raise BadContainer(f"the bundle exceeds the limit of {limit} bytes")
        target.write(chunk)
    return size


def _scanned(file: IO[bytes], size: int, outer: int, sealed: seal.Seal | None, limit: int) -> Opened:
    entries = container.scan(file, size, Limits(total=limit))
    layout = manifest.names_fit([entry.name for entry in entries])
    return Opened(file, outer, sealed, {entry.name: entry for entry in entries}, layout)


def layout_of(folder: Path) -> manifest.Layout:
    """The layout of a folder with a bundle's files; other files in it are ignored."""
    rosters = sorted(int(path.name[:4]) for path in folder.glob("rosters/[0-9][0-9][0-9][0-9].dsse.json"))
    legs = len(list(folder.glob("chain/[0-9][0-9][0-9][0-9]")))
    memory, cumulative = ((folder / name).is_file() for name in documents.CARDS)  # they stay when weights are removed
    kept = tuple(k for k in range(1, legs + 1) if (folder / manifest.earlier(k, documents.CARDS[0])).is_file())
    experts = tuple(k for k in range(1, legs + 1) if (folder / manifest.earlier(k, manifest.EXPERT)).is_file())
    expert = (folder / manifest.EXPERT).is_file()
    share = (folder / manifest.SHARE).is_file()
    return manifest.Layout(rosters, legs, memory, cumulative, kept, expert, experts, share)


def cards_in(folder: Path) -> dict[str, MemoryCard]:
    """The cards of all memories in such a folder, by the entry of each memory's tensors.

    Raises:
        BadDocument: one does not match its schema.
    """
    names = {name: manifest.card_of(name) for name in layout_of(folder).memories}
    return {name: parse(MemoryCard, read_bytes(folder / card), card) for name, card in names.items()}


def clear(folder: Path) -> Path:
    """Make an empty folder with this name, deleting what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
