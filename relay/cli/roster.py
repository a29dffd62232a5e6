"""A site's commands for the roster: ``relay roster install``, ``show``, ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, coordinate, options, places, show
from relay.cli.keys import trust
from relay.cli.top import command
from relay.home import home_of

if TYPE_CHECKING:
    from datetime import datetime

    from relay.trust import Roster

roster_app = typer.Typer(
    no_args_is_help=True, help="The sites of a study, their order and the policy.", **options.PLAIN
)
roster_app.command("make")(coordinate.make)
roster_app.command("amend")(coordinate.amend)


@roster_app.command("install")
@command
def install(
    roster: Annotated[Path, typer.Argument(help="The coordinator's roster file.", metavar="ROSTER")],
    fingerprint: options.Fingerprint = None,
    home: options.Home = None,
) -> None:
    """Install a roster: the first one of a study, or a newer one."""
    from relay.exchange import StudyStore
    from relay.trust import open_roster

    data = places.read_file(roster)
    claimed = _unverified(data)
    store = StudyStore(home_of(home), claimed.study)
    old = store.trusted.roster if store.knows_coordinator and store.trusted else None
    if not store.knows_coordinator or fingerprint is not None:
        open_roster(data, claimed.coordinator, claimed.study)  # check it before anyone makes a call
        ask.say(f"Roster {claimed.version} of study {claimed.study}.")
        trust(store, claimed.coordinator, fingerprint)
        store.pin(claimed.coordinator)
    new = store.install(data).roster
    ask.say(f"Installed in {store.home}: roster {new.version} of study {new.study}.")
    show.roster_change(old, new)
    _warn_of_period(new, store.now())
    show.turn(store)


def _warn_of_period(new: Roster, now: datetime) -> None:
    """Warn if the roster is not valid today: it is kept, but nothing can be received or sent under it."""
    from relay.trust import moment

    if now < moment(new.not_before):
        when = f"is only valid from {new.not_before}"
    elif now > moment(new.not_after):
        when = f"has ended: it was valid until {new.not_after}"
    else:
        return
    ask.say(
        f"WARNING: roster {new.version} {when}. You can't receive, train or send under it now. Check this "
        "computer's clock. If it is right, ask the coordinator for a roster with new dates.",
        err=True,
    )


@roster_app.command("show")
@command
def show_roster(
    roster: Annotated[
        Path | None, typer.Argument(help="A roster file. Default: the newest one here.", metavar="ROSTER")
    ] = None,
    study: options.Study = None,
    home: options.Home = None,
) -> None:
    """Show a roster: sites and fingerprints, order, policy."""
    from relay.exchange import StudyStore
    from relay.trust import open_roster

    place = home_of(home)
    if roster is None:
        store = places.store_of(place, study)
        show.roster(store.roster)
        show.turn(store)
        return
    data = places.read_file(roster)
    claimed = _unverified(data)
    store = StudyStore(place, claimed.study)
    if store.knows_coordinator:
        found = open_roster(data, store.coordinator, claimed.study)
        ask.say(f"Verified: signed by {store.coordinator.name}, the coordinator pinned here.")
        show.roster(found.roster)
    else:
        ask.say(f"NOT VERIFIED: study {claimed.study} is not known in {place}. The file says:")
        show.roster(claimed)


@roster_app.command("export")
@command
def export(to: options.To, study: options.Study = None, home: options.Home = None) -> None:
    """Write the newest roster to a file, to carry to another site."""
    from relay.trust import roster_name

    folder, store = places.folder_there(to), places.store_of(home_of(home), study)
    version, trusted = store.roster.version, store.trusted
    assert trusted is not None
    places.put_file(folder, roster_name(store.study, version), trusted.data)
    ask.say("Next, at the other site: relay roster install ROSTER")


def _unverified(data: bytes) -> Roster:
    """What a file says, no matter who wrote it."""
    from relay.trust import KIND, Roster, Signed, parse

    return parse(Roster, Signed(data, KIND, "the roster").unverified, "the roster")
