"""Where a study stands, as this site's store knows it, and what this site does next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from relay.exchange import StudyStore
from relay.trust import Line, Record, Roster

WORDS = {
    "roster": "Roster {version} was installed",
    "received": "Leg {leg} arrived and was verified",
    "signed": "Leg {leg} was signed",
    "charged": "The privacy cost of training leg {leg} was recorded",
    "sent": "Leg {leg} was written to a stick",
    "shared": "The model of leg {leg} was written to a stick, for an outside hospital",
    "approved": "Leg {leg} was approved to leave",
}
"""The events of a ledger, in words."""


@dataclass(frozen=True)
class Stop:
    """A leg in the line of hospitals: ``state`` is ``done``, ``here`` (this site's turn) or ``to come``."""

    leg: int
    site: str
    own: bool
    state: str


@dataclass(frozen=True)
class Step:
    """What to do next, in a sentence, with one button: its words and where it leads. ``href`` None: only wait."""

    sentence: str
    button: str = ""
    href: str | None = None


def studies_in(home: Path) -> list[str]:
    """The studies that a home knows."""
    return sorted(path.parent.name for path in home.glob("studies/*/coordinator.json"))


def stops(store: StudyStore, roster: Roster, record: Record) -> list[Stop]:
    """The line of hospitals."""
    own, turn = store.identity.name, _turn(store, roster)
    arrived = turn is not None and (turn == 1 or turn - 1 in record.received)
    return [
        Stop(leg, site, site == own, "done" if leg in record.legs else "here" if arrived and leg == turn else "to come")
        for leg, site in enumerate(roster.order, 1)
    ]


def _turn(store: StudyStore, roster: Roster) -> int | None:
    """This site's next leg; None for a reader, or when its turns are over."""
    return store.next_turn() if store.identity.name in roster.order else None


def next_step(store: StudyStore, roster: Roster, record: Record, trained: Callable[[int], str | None]) -> Step:
    """What this site does next.

    Args:
        trained: returns the handover of a leg that is trained and not yet signed; None if there is none.
    """
    turn, before = _turn(store, roster), max(record.signed, default=0)
    if before and before not in store.sent():
        return Step(
            f"Leg {before} is signed, but was not written to a stick. Write it, and carry it on.",
            "Write it to the stick",
            f"/approve?{urlencode({'study': store.study, 'handover': ''})}",
        )
    if turn is None:
        if record.newest < len(roster.order):
            return Step(
                "This site has no further turn. If a later leg is carried here, receive it.",
                "Receive from the stick",
                "/leg#receive",
            )
        return Step("All legs are done. Choose the model for your own patients.", "Choose a model", "/leg#adopt")
    if handover := trained(turn):
        return Step(
            f"Leg {turn} is trained. Look at what would leave, and approve it.",
            "Look at what would leave",
            f"/approve?{urlencode({'study': store.study, 'handover': handover})}",
        )
    if turn == 1:
        return Step("Yours is the first leg. Train it on your images.", "Train leg 1", "/leg#train")
    if turn - 1 not in record.received:
        sender = roster.turn(turn - 1)
        return Step(
            f"Wait for leg {turn - 1} from {sender}. When its stick arrives, plug it in and receive it.",
            "Receive from the stick",
            "/leg#receive",
        )
    return Step(f"Leg {turn - 1} has arrived. Train leg {turn} on your images.", f"Train leg {turn}", "/leg#train")


def events(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """The ledger, newest first: when (UTC), and what happened."""
    return [(line.time.replace("T", " ").replace("Z", ""), _words(line)) for line in reversed(lines)]


def _words(line: Line) -> str:
    facts = {"leg": "?", "version": "?", **line.facts}
    return WORDS.get(line.event, line.event).format(**{key: facts[key] for key in ("leg", "version")})
