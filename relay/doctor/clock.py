"""The clock, against everything here that bears a date: ledgers, keys, rosters, the installation itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import relay
from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import RelayError
from relay.exchange import SKEW, StudyStore, utc_now
from relay.trust import keys, moment

SET = "Set the clock and the time zone of this computer, by hand if it has no network, and run relay doctor again."
FAR = timedelta(minutes=10)
"""How far behind the ledger a clock may be without a word."""
ZONES = Path("/usr/share/zoneinfo")


def check_clock(home: Path, now: datetime | None = None) -> Iterator[Finding]:
    """The clock is not before an event that has already happened here, nor outside the life of the keys."""
    now = now or utc_now()
    wrong = [*_behind_installation(now), *_behind_ledgers(home, now), *_outside_keys(home, now)]
    yield from wrong or [ok("clock", f"{now:%Y-%m-%d %H:%M} UTC, after everything that is dated here")]
    yield from check_zone()


def _behind_installation(now: datetime) -> Iterator[Finding]:
    built = datetime.fromtimestamp(Path(relay.__file__).stat().st_mtime, now.tzinfo)
    if now < built - SKEW:
        yield fault("clock", f"{now:%Y-%m-%d} UTC, before relay was installed on {built:%Y-%m-%d}", SET)


def _behind_ledgers(home: Path, now: datetime) -> Iterator[Finding]:
    """By the rule that every command of the hand-over follows, and a warning before it applies."""
    for study in sorted(path.parent.name for path in home.glob("studies/*/coordinator.json")):
        store = StudyStore(home, study)
        try:
            last = max((moment(line.time) for line in store.ledger.lines()), default=None)
        except (RelayError, OSError) as error:
            yield fault(
                "ledger",
                "the ledger of a study can't be read: {error}",
                "Restore it from a backup, or run: {command}",
                error=error,
                command=store.command("ledger", "--rebuild"),
            )
            continue
        if last is not None and now < last - FAR:
            late = f"{now:%Y-%m-%d %H:%M} UTC, but the ledger of a study has an event from {last:%Y-%m-%d %H:%M}"
            told = fault if now < last - SKEW else warning
            yield told("clock", late, f"{SET} If it is right now, it was ahead at that event: tell the coordinator.")


def _outside_keys(home: Path, now: datetime) -> Iterator[Finding]:
    try:
        mine = keys.identity(home)
    except RelayError:  # the permissions' finding
        return
    if now < moment(mine.created) - SKEW:
        yield fault("clock", f"{now:%Y-%m-%d} UTC, before this site's keys were made on {mine.created[:10]}", SET)
    elif now > moment(mine.expires):
        yield fault(
            "keys",
            f"they expired on {mine.expires[:10]}; the clock shows {now:%Y-%m-%d}",
            "If the clock is right, make new keys (relay keys new --replace) and send a new request (relay request).",
        )


def check_zone(zones: Path = ZONES) -> Iterator[Finding]:
    """The time zone: dates on the screen and in receipts are UTC, but people compare them with a clock on the wall."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named and sys.platform != "win32" and zones.is_dir() and "/" in named and not (zones / named).exists():
        yield warning(
            "time zone",
            "the environment variable TZ names no time zone, so this system takes UTC: {zone}",
            "Correct TZ, or remove it: unset TZ",
            zone=named,
        )
    else:
        yield ok("time zone", "UTC{offset}", offset=time.strftime("%z"))
