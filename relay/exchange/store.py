"""A site's store for one study: everything it keeps for the hand-over, in its own folder (the *home*).

::

    <home>/identity.json  keys.age              this site's names and keys
    <home>/studies/<study>/coordinator.json     whose rosters are trusted, pinned after its fingerprint was compared
    <home>/studies/<study>/rosters/0001.dsse.json ...
    <home>/studies/<study>/ledger.jsonl  ledger.head
    <home>/studies/<study>/received/leg_0001/   what was received, after verification
    <home>/studies/<study>/signed/leg_0002/     what this site has signed

No private key is needed for anything here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from relay.bundle import manifest
from relay.errors import UserError, nearest, typed
from relay.exchange.rules import SKEW, VerificationContext, check_issued
from relay.files import read_bytes, recover_folder, write_bytes
from relay.home import command
from relay.locks import locked
from relay.trust import (
    BadDocument,
    BadRoster,
    BadSignature,
    ClockSetBack,
    DamagedLedger,
    Identity,
    Ledger,
    Line,
    Record,
    Refused,
    Roster,
    Signed,
    TrustedRoster,
    canonical,
    digest,
    keys,
    moment,
    newer,
    open_roster,
    parse,
    stamp,
    statement,
)

Clock = Callable[[], datetime]
T = TypeVar("T")


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


opened_roster = lru_cache(maxsize=64)(open_roster)
"""The same bytes, checked against the same coordinator, are not checked again: a command asks for its roster often."""
LEG = re.compile("leg_[0-9]{4}")
"""The name of a leg's folder."""


@dataclass(frozen=True)
class StudyStore:
    """The study's folder in a home.

    Args:
        clock: returns the time; replaced in tests.
    """

    home: Path
    study: str
    clock: Clock = utc_now

    def command(self, *words: object) -> str:
        """A hand-over command as you would type it for this study and home (:func:`relay.home.command`)."""
        return command(self.home, *words, study=self.study)

    @property
    def folder(self) -> Path:
        """The folder of this study."""
        return self.home / "studies" / self.study

    @cached_property
    def identity(self) -> Identity:
        """Who this site is.

        Raises:
            UserError: the home has no keys.
        """
        return keys.identity(self.home)

    @cached_property
    def ledger(self) -> Ledger:
        """This site's record of the study; it parses its file again only if that has changed."""
        return Ledger(self.folder)

    def now(self) -> datetime:
        """The time, but never before the ledger's newest event: a clock that is set back would make expired
        bundles, keys and rosters valid again.

        Raises:
            ClockSetBack: the clock is more than a day (:data:`~relay.exchange.rules.SKEW`) behind the ledger.
            DamagedLedger: the ledger can't be read.
        """
        now, lines = self.clock(), self.ledger.lines()
        last = max((line.time for line in lines), default=None)
        if last is not None and now < moment(last) - SKEW:
            raise ClockSetBack(
                f"this computer's clock shows {stamp(now)}; the ledger {self.ledger.path} has an event from {last}"
            )
        return now

    # -- whom to trust ---------------------------------------------------------------------------------------------

    @property
    def coordinator(self) -> Identity:
        """The pinned coordinator.

        Raises:
            UserError: none is pinned, so the study is not known here.
        """
        path = self.folder / "coordinator.json"
        if os.name == "posix" and self.home.is_dir() and (mode := self.home.stat().st_mode & 0o077):
            may = "write to" if mode & 0o022 else "read"
            raise UserError(
                f"other users can {may} {self.home}, which has the keys, the pinned coordinator and the ledger",
                f"Check whether anything was changed. Then run: {typed('chmod', '700', self.home)}",
            )
        if not path.is_file():
            known = sorted(p.parent.name for p in self.home.glob("studies/*/coordinator.json"))
            near = nearest(self.study, known)
            raise UserError(
                f"study '{self.study}' is not known in {self.home}; known: {', '.join(known) or 'none'}"
                + (f"; did you mean '{near}'?" if near else ""),
                "Start with the coordinator's invitation (relay request), or install a roster (relay roster install).",
            )
        return _own(lambda: parse(Identity, read_bytes(path), str(path)), path)

    @property
    def knows_coordinator(self) -> bool:
        """Whether a coordinator is pinned."""
        return (self.folder / "coordinator.json").is_file()

    def pin(self, coordinator: Identity) -> None:
        """Trust this coordinator's rosters from now on; the caller has already had the fingerprint compared.

        Raises:
            BadRoster: another one is pinned.
        """
        if not self.knows_coordinator:
            write_bytes(self.folder / "coordinator.json", canonical(coordinator))
        elif (pinned := self.coordinator).signing != coordinator.signing:
            raise BadRoster(
                f"the coordinator of study {self.study} is pinned with the fingerprint '{pinned.fingerprint}', "
                f"but this one has '{coordinator.fingerprint}'"
            )

    def roster_files(self) -> Iterator[Path]:
        """Every roster version known here, oldest first."""
        yield from sorted((self.folder / "rosters").glob("[0-9][0-9][0-9][0-9].dsse.json"))

    @property
    def trusted(self) -> TrustedRoster | None:
        """The newest roster known here; None for none."""
        newest = max(self.roster_files(), default=None)
        return self._open(newest) if newest else None

    def roster_version(self, number: int) -> Roster | None:
        """A version of the roster; None if it is not known here."""
        path = self.folder / manifest.roster(number)
        return self._open(path).roster if path.is_file() else None

    def _open(self, path: Path) -> TrustedRoster:
        return _own(lambda: opened_roster(read_bytes(path), self.coordinator, self.study), path)

    @property
    def roster(self) -> Roster:
        """The newest roster.

        Raises:
            UserError: none is installed.
        """
        trusted = self.trusted if self.knows_coordinator else None
        if trusted is None:
            raise UserError(
                f"no roster of study '{self.study}' is installed in {self.home}",
                "Install the one that the coordinator gave you: relay roster install ROSTER",
            )
        return trusted.roster

    def install(self, data: bytes) -> TrustedRoster:
        """Install a roster that the pinned coordinator signed and that is not older than the one here.

        Raises:
            Refused: it is not acceptable; nothing was changed.
        """
        found = open_roster(data, self.coordinator, self.study)
        check_issued(found.roster, self.now())
        here = self.trusted
        if here is not None and here.digest == found.digest:
            return here
        if here is not None:
            newer(here, found)
        self.ledger.append("roster", self.now(), version=found.roster.version, sha256=found.digest)
        write_bytes(self.folder / manifest.roster(found.roster.version), data)
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other commands from receiving or sending in this study in the meantime.

        Raises:
            UserError: another command is already doing so.
        """
        with locked(self.folder / "store.lock", f"study {self.study} in {self.home}"):
            yield

    # -- turns -------------------------------------------------------------------------------------------------------

    def context(self, look_on: bool = False, until: int | None = None) -> VerificationContext:
        """The context for judging bundles here.

        Args:
            look_on: as an observer, no matter whose turn it is.
            until: a leg that is looked at again: it may have been received before, and later ones may be known.
        """
        rosters = [self._open(path) for path in self.roster_files()]
        roster = rosters[-1] if rosters else None
        name = self.identity.name if not look_on else None
        outside = roster is not None and name not in [site.name for site in roster.roster.sites]
        site = None if outside else name
        whole, older = self.whole(), tuple(rosters[:-1])
        record = whole if until is None else whole.until(until)
        sealing = None if look_on else self.identity.sealing
        return VerificationContext(self.study, site, self.coordinator, roster, record, self.now(), older, sealing)

    def received(self, leg: int) -> Path:
        """Where the files received for a leg are stored."""
        return self._kept("received", leg)

    def signed(self, leg: int) -> Path:
        """Where the files this site has signed for a leg are stored."""
        return self._kept("signed", leg)

    def kept(self) -> list[Path]:
        """The folders of all legs received or signed here, sorted."""
        for kind in ("received", "signed"):
            for path in (self.folder / kind).glob(".leg_*.old"):
                recover_folder(path.with_name(path.name[1:].removesuffix(".old")))
        there = [path for kind in ("received", "signed") for path in (self.folder / kind).glob("leg_*")]
        return sorted(
            path for path in there if LEG.fullmatch(path.name)
        )  # a copy that someone made is not a leg's folder

    def _kept(self, kind: str, leg: int) -> Path:
        folder = self.folder / kind / f"leg_{leg:04d}"
        recover_folder(folder)  # after a command was killed while replacing it
        return folder

    def record(self) -> Record:
        """What the ledger says about the legs, without those that a roster allowed to be repeated."""
        trusted, record = self.trusted, self.whole()
        return record.without(trusted.roster.void) if trusted else record

    def whole(self) -> Record:
        """What the ledger says, after comparing it with the files beside it.

        Raises:
            DamagedLedger: the ledger, or a file beside it, is missing or damaged.
        """
        lines = self.ledger.lines()
        there = max((int(path.name[:4]) for path in self.roster_files()), default=0)
        said = max((int(line.facts.get("version", 0)) for line in lines if line.event == "roster"), default=0)
        if there > said:
            raise DamagedLedger(f"roster {there} is beside the ledger {self.ledger.path}, but not in it")
        if said > there:
            raise DamagedLedger(
                f"roster {said} is in the ledger {self.ledger.path}, but not beside it",
                "Install it again (relay roster install), or restore the folder from a backup. If you are the "
                "coordinator, and relay roster make or amend was stopped while it made this roster, run it again.",
            )
        record = self.ledger.record()
        known = {(line.event, *pair) for line in lines for pair in _about(line)}
        for path in self.kept():
            kind, made = path.parent.name, _statement_in(path)
            if made is not None and (kind, int(path.name[4:]), made) not in known:
                raise DamagedLedger(
                    f"{kind}/{path.name} is beside the ledger {self.ledger.path}, but not in it: a file of that "
                    "folder was changed, or an older copy of the ledger was restored"
                )
        return record

    def next_turn(self) -> int | None:
        """The next leg that this site must do, after all those it has signed; None if its turns are over."""
        gone_on = self.record().gone_on
        order = self.roster.order
        return next((leg for leg, name in enumerate(order, 1) if leg > gone_on and name == self.identity.name), None)

    def sent(self) -> set[int]:
        """The legs that have been put on a stick since they were last signed."""
        done: set[int] = set()
        for line in self.ledger.lines():
            if line.event == "signed":
                done.discard(line.facts["leg"])
            elif line.event == "sent":
                done.add(line.facts["leg"])
        return done

    def forget_weights(self, leg: int) -> None:
        """Remove the weights received for a leg, once the next leg is signed. Its documents and the memories of single
        legs stay: every later bundle contains them."""
        for name in (manifest.MODEL, manifest.CUMULATIVE):
            (self.received(leg) / name).unlink(missing_ok=True)


def _about(line: Line) -> Iterator[tuple[int, str]]:
    """The leg that a line records as received or signed, and the digest of its statement."""
    if line.event in ("received", "signed"):
        leg = line.facts["leg"]
        yield leg, line.facts["chain"][str(leg)][0]


def _statement_in(folder: Path) -> str | None:
    """The digest of the statement in one of this site's own folders; None if it can't be read."""
    try:
        data = read_bytes(folder / manifest.STATEMENT)
        return digest(Signed(data, statement.KIND, str(folder)).unverified)
    except (OSError, Refused):
        return None


def _own(read: Callable[[], T], path: Path) -> T:
    """The result of reading one of this site's own files.

    Raises:
        UserError: it is damaged, which is not another site's fault.
    """
    try:
        return read()
    except (BadDocument, BadSignature, OSError) as error:
        raise UserError(
            f"this site's own file {path} is damaged: {error}",
            "Restore it from a backup. If it is a roster, you can install it again instead: remove the file, then run "
            "relay roster install ROSTER.",
        ) from error
