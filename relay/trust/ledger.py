"""The ledger: a site's append-only record of a study. Each event is a JSON line, chained to the one before.

``ledger.jsonl`` holds the events, ``ledger.head`` the number of lines and the SHA-256 of the last one. A changed,
removed, inserted or reordered line breaks the chain; a truncated file disagrees with the head. Anyone who can write
to the folder can still forge the last line or the whole ledger. The sites after this one would notice: their chains
contain its statements.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from relay.config import Field, options
from relay.files import read_bytes, write_bytes
from relay.locks import locked
from relay.trust.document import Sha256, Time, canonical, digest, parse, stamp
from relay.trust.refusals import DamagedLedger, Refused

Event = Literal["roster", "received", "charged", "approved", "signed", "sent", "shared", "withdrawn"]
FIRST = "0" * 64


@options
class Line:
    """An event: its number from 1, the SHA-256 of the line before, the time, the kind of event, and its facts."""

    n: int
    previous: Sha256
    time: Time
    event: Event
    facts: dict[str, Any] = Field(default_factory=dict)


@options
class LedgerHead:
    """Where the ledger ends."""

    n: int
    sha256: Sha256


@dataclass(frozen=True)
class Known:
    """A hand-over in the ledger: the digest of its statement, and the version of the roster it was made under."""

    statement: str
    roster: int


@dataclass(frozen=True)
class Cost:
    """What a training with differential privacy costs this site's patients.

    Attributes:
        key: which training: the name of the key of its noise.
    """

    key: str
    epsilon: float
    delta: float


@dataclass(frozen=True)
class Record:
    """What the ledger says about the legs of a study, by leg number.

    Attributes:
        legs: every known leg: received, signed, or in the chain of a received one.
        received, signed: the legs this site has received, and those it has signed.
        own: every statement that this site has signed for a leg, with its roster's version. After a leg is signed again
            under a newer roster, others may still have built on the earlier statement.
    """

    legs: Mapping[int, Known] = field(default_factory=dict)
    received: Mapping[int, Known] = field(default_factory=dict)
    signed: Mapping[int, Known] = field(default_factory=dict)
    own: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The highest known leg; 0 for none."""
        return max(self.legs, default=0)

    @property
    def gone_on(self) -> int:
        """The highest leg that this site has signed; 0 for none."""
        return max(self.signed, default=0)

    def until(self, leg: int) -> Record:
        """The record for looking at a leg again: without later legs, and as if nothing had been received."""
        return Record({n: known for n, known in self.legs.items() if n <= leg}, {}, self.signed, self.own)

    def without(self, void: Callable[[int, int], bool]) -> Record:
        """The record without void legs. ``void`` takes a leg and the version of the roster it was made under."""

        def kept(legs: Mapping[int, Known]) -> dict[int, Known]:
            return {leg: known for leg, known in legs.items() if not void(leg, known.roster)}

        own = {leg: {d: r for d, r in made.items() if not void(leg, r)} for leg, made in self.own.items()}
        return Record(kept(self.legs), kept(self.received), kept(self.signed), own)


class Ledger:
    """The ledger in a study's folder.

    Raises:
        DamagedLedger: on reading, if it is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.head = folder / "ledger.jsonl", folder / "ledger.head"
        self._parsed: tuple[list[bytes | None], list[Line]] | None = None

    def lines(self) -> list[Line]:
        """All events, oldest first, after their chain is checked. It is checked again only if a byte has changed."""
        found = [path.read_bytes() if path.is_file() else None for path in (self.path, self.head)]
        if self._parsed is None or self._parsed[0] != found:
            self._parsed = found, self._checked()
        return list(self._parsed[1])

    def _checked(self) -> list[Line]:
        raw = self._raw()
        found: list[Line] = []
        before = FIRST
        for n, data in enumerate(raw, 1):
            try:
                line = parse(Line, data, f"line {n} of {self.path}")
            except Refused as error:
                raise DamagedLedger(str(error)) from error
            if (line.n, line.previous) != (n, before):
                raise DamagedLedger(f"line {n} of {self.path} does not follow the line before it")
            found.append(line)
            before = digest(data)
        self._check_head(raw)
        return found

    def _raw(self) -> list[bytes]:
        """The raw lines. A line that a power cut left unfinished, and that the head does not count, is skipped."""
        data = read_bytes(self.path) if self.path.is_file() else b""
        *whole, rest = data.split(b"\n")
        if rest and self._head().n > len(whole):
            raise DamagedLedger(f"{self.path} ends in the middle of a line")
        return whole

    def _head(self) -> LedgerHead:
        if not self.head.is_file():
            return LedgerHead(n=0, sha256=FIRST)
        try:
            return parse(LedgerHead, read_bytes(self.head), str(self.head))
        except Refused as error:
            raise DamagedLedger(str(error)) from error

    def _check_head(self, raw: Sequence[bytes]) -> None:
        head = self._head()
        if head.n not in (len(raw), len(raw) - 1):  # a power cut may come between the line and the head
            raise DamagedLedger(f"{self.path} has {len(raw)} lines, but {self.head.name} counts {head.n}")
        if head.n and digest(raw[head.n - 1]) != head.sha256:
            raise DamagedLedger(f"line {head.n} of {self.path} is not the one that {self.head.name} names")

    def digests(self) -> list[str]:
        """SHA-256 of each line, oldest first, after their chain is checked."""
        self.lines()
        return [digest(line) for line in self._raw()]

    def append(self, event: Event, now: datetime, **facts: Any) -> None:
        """Add an event; it is on the disk when this returns. First drop any line that a power cut left unfinished.

        Raises:
            DamagedLedger: the ledger so far is not intact; nothing is added.
        """
        with locked(self.path.with_name("ledger.lock"), str(self.path)):
            self.lines()
            raw = self._raw()
            last = digest(raw[-1]) if raw else FIRST
            data = canonical(Line(n=len(raw) + 1, previous=last, time=stamp(now), event=event, facts=facts))
            with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                file.seek(sum(len(line) + 1 for line in raw))
                file.truncate()
                file.write(data + b"\n")
                file.flush()
                os.fsync(file.fileno())
            write_bytes(self.head, canonical(LedgerHead(n=len(raw) + 1, sha256=digest(data))))

    def record(self) -> Record:
        """A summary of its events."""
        legs: dict[int, Known] = {}
        by_event: dict[str, dict[int, Known]] = {"received": {}, "signed": {}}
        own: dict[int, dict[str, int]] = {}
        for line in self.lines():
            if line.event in by_event:
                try:
                    known = {int(leg): Known(*pair) for leg, pair in line.facts["chain"].items()}
                    by_event[line.event][line.facts["leg"]] = known[line.facts["leg"]]
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise DamagedLedger(f"line {line.n} of {self.path} does not say which legs it concerns") from error
                legs.update(known)
                if line.event == "signed":
                    this = known[line.facts["leg"]]
                    own.setdefault(line.facts["leg"], {})[this.statement] = this.roster
        return Record(legs, by_event["received"], by_event["signed"], own)

    def costs(self) -> list[Cost]:
        """What trainings with differential privacy have cost this site's patients in this study, each once."""
        found: list[Cost] = []
        for line in self.lines():
            if line.event == "charged":
                try:
                    cost = Cost(str(line.facts["key"]), float(line.facts["epsilon"]), float(line.facts["delta"]))
                except (KeyError, TypeError, ValueError) as error:
                    raise DamagedLedger(f"line {line.n} of {self.path} does not say what was charged") from error
                found.append(cost)
        return list(dict.fromkeys(found))

    def put_aside(self, now: datetime) -> Path | None:
        """Rename the files, so that a new ledger can start; people can still read the old one."""
        if not (self.path.exists() or self.head.exists()):
            return None
        name = f"ledger.{stamp(now).replace(':', '')}"
        tried = (self.path.with_name(f"{name}{suffix}.old") for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
        aside = next(
            path for path in tried if not path.exists()
        )  # a failed attempt within this second may have left one
        aside.mkdir()
        for file in (self.path, self.head):
            if file.exists():
                file.replace(aside / file.name)
        return aside
