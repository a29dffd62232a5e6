"""How a leg receives what it starts from and sends its result: always through :mod:`relay.exchange`.

A deployment (:class:`Deployed`) uses this site's own keys and a stick; a simulation
(:class:`relay.leg.simulated_transport.Simulated`) uses temporary keys and a folder.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import manifest, read_facts
from relay.config import Handoff
from relay.errors import TrainingError, UserError
from relay.exchange import (
    AcceptanceCheck,
    StudyStore,
    chain_in,
    check_fit,
    drafting,
    newest,
    receive,
    reopen,
    select_bundle,
    sending,
)
from relay.files import expanded
from relay.handover import Handover
from relay.home import home_of
from relay.leg.handover_writer import expected_config
from relay.leg.paths import LegPaths, RunPaths
from relay.leg.processes import is_first, wait_for_all
from relay.plan import Leg
from relay.trust import Cost, GateFailed, Keys, Policy, ending, unlock

__all__ = ["Deployed", "Incoming", "Transport", "expected_config"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Incoming:
    """What a leg starts from: a verified handover, and the digest that identifies its weights."""

    handover: Handover
    digest: str


class Transport:
    """A standalone leg: nothing is received or sent.

    Attributes:
        policy: what the study's roster allows.
    """

    policy = Policy(min_samples=1, expires_days=3650, memory="any")

    def prepare(self, leg: Leg) -> None:
        """Before any heavy work, check that the hand-over can succeed, and ask for the passphrase."""

    def start(self, leg: Leg) -> str | None:
        """Digest of what a leg starts from, without receiving it; None for nothing."""
        return None

    def receive(self, leg: Leg, weigh: AcceptanceCheck, say: Say) -> Incoming | None:
        """What a leg starts from, verified and past the acceptance check; None for nothing."""
        return None

    def check(self, leg: Leg, made: Handover, weigh: AcceptanceCheck) -> None:
        """Check a leg's result against everything its receivers will check, before the leg counts as finished.

        Raises:
            TrainingError: they would refuse it.
        """
        try:
            weigh(made, self.own_store(leg), self.policy)
        except GateFailed as error:
            raise TrainingError(
                f"leg {leg.number} ({leg.task_name}) can't be handed over: the next site would refuse it: {error}",
                "Nothing was signed, so it is still your turn. If values are too large or not finite, lower "
                "common.train.optimizer.kwargs.lr or set common.train.gradient_clip=1. If the score is too low, train "
                "longer and check the data. Use a new note (-n), because the config changes.",
            ) from error

    def own_store(self, leg: Leg) -> StudyStore:
        """The store of the leg's site; an empty one if nothing is handed over."""
        return StudyStore(Path(os.devnull), "none")

    def costs(self, leg: Leg) -> list[Cost]:
        """What trainings with differential privacy have cost the patients of the leg's site so far, in this study."""
        return []

    def charge(self, leg: Leg, cost: Cost) -> None:
        """Record such a cost, before the training. Doing it again changes nothing."""

    def send(self, leg: Leg, say: Say) -> None:
        """Hand over a finished leg's result. Doing it again changes nothing."""

    def newest(self, leg: Leg) -> Incoming | None:
        """The newest handover that the leg's site has; None if nothing is handed over."""
        return None


class Deployed(Transport):
    """One site's leg, according to the ``handoff`` block of its config.

    Raises:
        UserError: the study, its roster or this site's keys are missing.
    """

    def __init__(self, conf: Handoff, run: RunPaths) -> None:
        self.conf, self.run = conf, run
        self.store = StudyStore(home_of(conf.key), conf.study)
        self.policy = self.store.roster.policy
        self._keys: Keys | None = None

    def prepare(self, leg: Leg) -> None:
        """In the process that receives and sends: check whose turn it is and what the stick has, then unlock the keys.

        Raises:
            UserError, Refused: the leg can't be run, or its result can't be sent.
        """
        if not is_first():
            return
        paths = self.run.leg(leg.folder)
        if paths.finished:
            self._no_other_turn(paths)
        else:
            number = self._number()
            self._check(leg, number)
            if number > 1:
                self._bundle(number - 1)
        begun = bool(paths.record()) and not paths.finished  # it can resume without the stick
        if self.conf.send and not begun and not expanded(self.conf.send).is_dir():
            raise UserError(
                f"handoff.send: there is no folder {self.conf.send}",
                "Plug in the stick. Or set handoff.send to null, and send later: relay send -c CONFIG -o FOLDER",
            )
        file = self.conf.passphrase_file
        self._keys = unlock(self.store.home, Path(file) if file else None)

    @property
    def keys(self) -> Keys:
        """The site's keys; call :meth:`prepare` first."""
        if self._keys is None:
            raise RuntimeError("call prepare first")
        return self._keys

    def own_store(self, leg: Leg) -> StudyStore:
        """This site's."""
        return self.store

    def costs(self, leg: Leg) -> list[Cost]:
        """Those in this site's ledger."""
        return self.store.ledger.costs()

    def charge(self, leg: Leg, cost: Cost) -> None:
        """Record a cost in this site's ledger."""
        with self.store.alone():
            if is_first() and cost not in self.costs(leg):
                self.store.ledger.append("charged", self.store.now(), leg=self._number(), **dataclasses.asdict(cost))

    def _number(self) -> int:
        number = self.store.next_turn()
        if number is None:
            raise UserError(
                f"{self.store.identity.name} has no turn left in study {self.store.study}",
                f"Check the order ({self.store.command('roster', 'show')}). "
                f"To send a finished leg again: {self.store.command('send')} -o FOLDER",
            )
        return number

    def start(self, leg: Leg) -> str | None:
        """As recorded when the leg started; :meth:`receive` examines what was received."""
        start = self.run.leg(leg.folder).record().get("start")
        return str(start) if start else None

    def receive(self, leg: Leg, weigh: AcceptanceCheck, say: Say) -> Incoming | None:
        """Receive the previous leg's bundle, unless that is already done."""
        number = self._number()
        if is_first():
            self._check(leg, number)
            if number > 1:
                self._take_in(leg, number - 1, weigh, say)
                self.policy = self.store.roster.policy  # a newer roster may have come with it
            if (warning := ending(self.store.roster, self.store.now())) is not None:
                say(f"warning: {warning}")
        wait_for_all()
        return Incoming(*reopen(self.store, number - 1)) if number > 1 else None

    def newest(self, leg: Leg) -> Incoming | None:
        """What this site has received or signed last."""
        return Incoming(*newest(self.store))

    def _no_other_turn(self, paths: LegPaths) -> None:
        """A run has one leg. If this site now has another turn, someone forgot to give a new note.

        Raises:
            UserError: this site has another turn to train.
        """
        done, turn = read_facts(paths.handover).leg, self.store.next_turn()
        if turn in (None, done):
            return
        try:
            if turn > 1:
                self._bundle(turn - 1)
        except UserError:
            return  # not yet
        raise UserError(
            f"{paths.root} is leg {done}, which is finished; the next turn is leg {turn}",
            f"Use a new note (-n) for leg {turn}. To send leg {done} again: {self.store.command('send')} -o FOLDER",
        )

    def _check(self, leg: Leg, number: int) -> None:
        name = self.store.identity.name
        if leg.task_name != name:
            raise UserError(
                f"the config's task is '{leg.task_name}', but the keys in {self.store.home} belong to '{name}'",
                "Set current_tasks.task_ids to this site's task, or handoff.key to this site's folder.",
            )
        drafting.check_turn(self.store, number)

    def _bundle(self, before: int) -> Path | None:
        """The bundle to receive; None if it was already received.

        Raises:
            UserError: there is none.
        """
        here = self.store.received(before)
        if before in self.store.record().received and here.is_dir() and not (here / manifest.SHARE).is_file():
            return None  # a share, from before this site joined the study, lacks the memories
        source = expanded(self.conf.receive) if self.conf.receive else None
        if source is None:
            raise UserError(
                f"leg {before} has not been received yet",
                f"Set handoff.receive to the stick's folder, or run: {self.store.command('receive')} BUNDLE",
            )
        return select_bundle.choose(self.store, source, before) if source.is_dir() else source

    def _take_in(self, leg: Leg, before: int, weigh: AcceptanceCheck, say: Say) -> None:
        path = self._bundle(before)
        if path is None:
            say(f"leg {before} was received before")
            self._again(leg, before, weigh, say)
            return
        say(f"opening {path}")
        found = receive(self.store, self.keys, path, weigh, expected_config(leg))
        claim = found.claim
        say(f"received leg {claim.leg} by {claim.site}: {len(found.statements)} leg(s) verified")
        for note in found.notes:
            say(f"  {note}")

    def _again(self, leg: Leg, before: int, weigh: AcceptanceCheck, say: Say) -> None:
        """Check what was received earlier, perhaps without a config: it must match this one and pass its gate, too."""
        handover, _ = reopen(self.store, before)
        claim = chain_in(self.store.received(before))[-1].claim
        check_fit(handover.facts, claim, expected_config(leg), self.policy)
        for note in weigh(handover, self.store, self.policy):
            say(f"  {note}")

    def send(self, leg: Leg, say: Say) -> None:
        """Sign and seal the leg, and put it on the stick if the config names one."""
        if not is_first():
            return
        folder = self.run.leg(leg.folder).handover
        if self.conf.send is None:
            say(
                f"not sent: handoff.send is not set; when you are ready: {self.store.command('send', folder)} -o FOLDER"
            )
            return
        number = read_facts(folder).leg
        with self.store.alone():
            if number in self.store.record().signed and number in self.store.sent():
                again = self.store.command("send", "-o", self.conf.send)
                say(f"leg {number} was sent before; to send it again: {again}")
                return
            if self.policy.approval == "required":
                again = self.store.command("send", folder, "-o", self.conf.send)
                say(f"not sent: the study's policy requires that a person approves what leaves: {again}")
                return
            if self.policy.audit == "require":
                again = self.store.command("send", folder, "-o", self.conf.send)
                audit = f"relay audit {self.run.root}"
                say(f"not sent: the study's policy requires a privacy audit: {audit}; then: {again}")
                return
            drafted = drafting.draft(self.store, folder)
            lines = drafted.lines(self.policy)  # before it is signed, which moves its files
            sending.sign(self.store, self.keys, drafted)
            for line in lines:
                say(line)
            for file in sending.export(self.store, number, expanded(self.conf.send), self.conf.volume):
                say(f"sent: {file}")
