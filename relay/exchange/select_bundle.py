"""Choose which bundle on a stick to receive, by name. Verification then judges it."""

from __future__ import annotations

from pathlib import Path

from relay.bundle import Found, find
from relay.errors import UserError, some
from relay.exchange.store import StudyStore
from relay.trust import keys

SHARED = "share-"
"""What the name of a bundle for an outside hospital has in the place of its site, before the hospital's."""


def choose(store: StudyStore, folder: Path, leg: int | None = None) -> Path:
    """The bundle that this site must receive next, or its first volume.

    This is the leg before its next turn; once its turns are over, the last leg; if no roster is installed yet, the
    newest leg available. Among several for that leg, prefer the one by the site whose turn it was, then a sealed one.

    Args:
        leg: take this one instead.

    Raises:
        UserError: there is none; the message lists what is there.
    """
    there = find(folder)
    mine = [found for found in there if found.study == store.study]
    trusted = store.trusted
    if trusted is None and leg is None:
        leg = mine[0].leg if mine else 1
    wanted = leg or _before_next_turn(store)
    site = (trusted.roster.turn(wanted) if trusted else None) or ""
    there_are_keys = (store.home / keys.PUBLIC).is_file()
    own = f"{SHARED}{store.identity.name if there_are_keys else ''}".lower()
    fitting = sorted(
        (f for f in mine if f.leg == wanted and (f.site in (own, site.lower()) or not f.site.startswith(SHARED))),
        key=lambda f: (f.site != own, f.site != site.lower(), not f.sealed),
    )
    if not fitting:
        raise UserError(
            f"{folder} has no bundle of leg {wanted}{f' (by {site})' if site else ''} of study {store.study}; "
            f"there is: {_listed(there)}",
            "Check that it is the right stick and that everything was copied. If the order has changed, install the "
            "new roster first. If the file has another name, name it explicitly.",
        )
    return fitting[0].path


def _before_next_turn(store: StudyStore) -> int:
    """The leg to receive next.

    Raises:
        UserError: the next turn is the first leg, which no leg precedes.
    """
    turn = store.next_turn()
    if turn == 1:
        raise UserError(
            f"leg 1 of study {store.study} is the turn of {store.identity.name}: there is nothing to receive before it",
            "Train it: relay train -c CONFIG. If the config names no stick, then run: relay send -c CONFIG -o FOLDER.",
        )
    last = len(store.roster.order)
    if turn is None and store.roster.turn(last) == store.identity.name:
        raise UserError(
            f"the last leg of study {store.study} is {store.identity.name}'s own: there is nothing to receive after it",
            f"To send it again: {store.command('send')} -o FOLDER",
        )
    return turn - 1 if turn else last


def _listed(there: list[Found]) -> str:
    return some([found.path.name for found in there]) or "no bundle"
