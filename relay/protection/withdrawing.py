"""Withdraw a patient: leave it out from now on, remove what holds it, and record that without its name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.data import Withdrawn
from relay.exchange import StudyStore
from relay.leg import RunPaths
from relay.protection.held import Holdings, Learned
from relay.protection.passed import leaving
from relay.protection.patient import Person
from relay.protection.removing import remove

EVENT: Final = "withdrawn"


@dataclass(frozen=True)
class Left:
    """A bundle that was carried away with what was learned from the patient.

    Attributes:
        leg: its leg.
        when, files: when it was put on a stick, and the names there.
        to: who can open it.
    """

    leg: int
    when: str
    files: tuple[str, ...]
    to: tuple[str, ...]


def record_of(store: StudyStore, learned: Sequence[Learned]) -> list[Left]:
    """The bundles that left this site with a leg that learned from the patient, as the ledger says.

    Raises:
        DamagedLedger: the ledger is not what was written.
    """
    legs = {each.leg for each in learned if each.leg is not None}
    found = []
    for each in leaving(store):
        shared = each.line.event == "shared"
        if each.leg in legs or (shared and legs and each.leg > min(legs)):  # a copy has the weights of later legs
            to = each.chain[-1].claim.recipients if each.chain else ()
            names = (str(each.line.facts["reader"]),) if shared else tuple(recipient.name for recipient in to)
            found.append(Left(each.leg, each.line.time, tuple(each.line.facts["files"]), names))
    return found


def withdraw(someone: Person, found: Holdings, store: StudyStore | None) -> Withdrawn:
    """Leave the patient out of every later split, remove what holds it, and record it; return the list.

    First the list, so that the patient stays out even if the rest is interrupted; the same command then finishes.

    Raises:
        UserError: a run is being trained; a file is damaged.
        OSError: one can't be changed.
    """
    with ExitStack() as locks:
        for root in _used(found.parts):
            locks.enter_context(RunPaths(root).alone())
        learned = {str(each.folder.absolute()): each.part for each in found.learned}
        marks = sorted({Withdrawn.of_home().add(someone.site, name, learned) for name in someone.names})
        remove(found.files, someone)
    if store is not None:
        known = {line.facts["patient"] for line in store.ledger.lines() if line.event == EVENT}
        legs = sorted({each.leg for each in found.learned if each.leg is not None})
        for mark in sorted({*marks} - known):
            facts = {"site": someone.site, "patient": mark, "legs": legs, "removed": len(found.files)}
            store.ledger.append(EVENT, store.now(), **facts)
    return Withdrawn.of_home()


def _used(runs: Collection[Path]) -> list[Path]:
    """The folders that a command may be working in: of runs, and of the comparisons they are part of."""
    above = [place.parents[1] for place in runs if (place.parents[1] / ".lock").is_file()]
    return sorted({*runs, *above})
