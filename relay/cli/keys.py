"""A site's identity, and how it joins a study: ``relay keys``, ``relay invite``, ``relay request``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command
from relay.errors import UserError, typed
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.exchange import StudyStore
    from relay.trust import Identity

keys_app = typer.Typer(no_args_is_help=True, help="Make or show this site's keys.", **options.PLAIN)


@keys_app.command("new")
@command
def new(
    name: Annotated[
        str, typer.Option("--name", help="This site's name: task_name in the config.", callback=options.value)
    ],
    years: Annotated[float, typer.Option("--years", help="How many years the keys are valid.")] = 2.0,
    replace: Annotated[bool, typer.Option("--replace", help="Move old keys aside and make new ones.")] = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Make this site's keys: one to sign with, and one that others seal bundles to.

    You are asked for a passphrase twice, unless --passphrase-file, RELAY_PASSPHRASE or RELAY_PASSPHRASE_FILE gives it.
    """
    from relay.trust import keys, passphrase

    place = home_of(home)
    if replace and (here := keys.named(place)) not in (name, None):
        raise UserError(
            f"the keys in {place} belong to {here}, not to {name}",
            f"Give {typed('--name', here)}, or another --home.",
        )
    made = keys.new(name, years)
    secret = passphrase(expanded(passphrase_file) if passphrase_file else None, confirm=True)
    keys.save(made, place, secret, replace)
    ask.say(f"New keys for {name} in {place}, valid until {made.identity.expires[:10]}. Their fingerprint:")
    ask.show_fingerprint(made.identity)
    ask.say(f"Keep a copy of {place} in a safe place, and the passphrase in another: no one can restore either.")
    if replace:
        ask.say("Next: run relay request INVITATION for every study. The coordinator makes a roster with the new keys.")
    else:
        ask.say("Next: relay request INVITATION if you are a site, relay invite STUDY if you are the coordinator.")


@keys_app.command("show")
@command
def show(
    words: Annotated[bool, typer.Option("--words", help="Print only the 12 words.")] = False,
    home: options.Home = None,
) -> None:
    """Show the public part of this site's keys, and their fingerprint."""
    from relay.trust import keys

    place = home_of(home)
    identity = keys.identity(place)
    if words:
        ask.say(identity.fingerprint)
        return
    for label, text in (
        ("name", identity.name),
        ("folder", place),
        ("signing key", identity.signing),
        ("sealing key", identity.sealing),
        ("valid", f"{identity.created} to {identity.expires}"),
    ):
        ask.say(f"{label:<12} {text}")
    ask.say("fingerprint, to read out over the phone:")
    ask.show_fingerprint(identity)


@command
def invite(
    study: Annotated[str, typer.Argument(help="The name of the new study: a-z, 0-9 and '-'.", metavar="STUDY")],
    to: options.To,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """As the coordinator, start a study: write the invitation that every site answers."""
    from relay.exchange import StudyStore
    from relay.trust import request

    folder, store = places.folder_there(to), StudyStore(home_of(home), places.check_study(study))
    keys = places.unlock(store.home, passphrase_file)
    keys.identity.check_alive(store.now())
    store.pin(keys.identity)
    places.put_file(folder, request.invitation_name(study), request.invite(keys, study))
    ask.say(f"You ({keys.identity.name}) are the coordinator of study {study}. Your fingerprint:")
    ask.show_fingerprint(keys.identity)
    ask.say("Next: carry the file to every site. When a site calls you, read these words out to them.")
    ask.say("When their requests come back, run: relay roster make REQUEST... --order SITE,SITE -o FOLDER")


@command
def request(
    invitation: Annotated[Path, typer.Argument(help="The coordinator's invitation file.", metavar="INVITATION")],
    to: options.To,
    fingerprint: options.Fingerprint = None,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """As a site, answer an invitation: compare the coordinator's fingerprint and write the request to join."""
    from relay.exchange import StudyStore
    from relay.trust import request as requests

    place, folder = home_of(home), places.folder_there(to)
    found = requests.read_invitation(places.read_file(invitation))
    store = StudyStore(place, found.study)
    name = store.identity.name
    if name.lower() == found.coordinator.name.lower():
        raise UserError(
            f"the coordinator of study {found.study} has the same name as this site, {name}",
            "A site needs its own name and keys: relay keys new --name ANOTHER --home ANOTHER.",
        )
    ask.say(f"An invitation to study {found.study}.")
    trust(store, found.coordinator, fingerprint)
    keys = places.unlock(place, passphrase_file)
    keys.identity.check_alive(store.now())
    answer = requests.ask(keys, found)
    store.pin(found.coordinator)
    places.put_file(folder, requests.request_name(found.study, name), answer)
    ask.say(f"The fingerprint of {name}, which the coordinator must compare:")
    ask.show_fingerprint(keys.identity)
    ask.say("Next: carry the file to the coordinator, and read these words out over the phone.")
    ask.say("When the roster comes back, run: relay roster install ROSTER")


def trust(store: StudyStore, coordinator: Identity, fingerprint: str | None) -> None:
    """Trust the pinned coordinator, or have the fingerprint compared.

    Raises:
        BadRoster: another coordinator is pinned.
        BadSignature: the fingerprint differs.
    """
    if not store.knows_coordinator or fingerprint is not None:
        ask.compare_fingerprint(coordinator, fingerprint)
    if not store.knows_coordinator:
        return
    store.pin(coordinator)  # refuses another one
    ask.say(f"{coordinator.name} is the coordinator pinned here: the fingerprint was compared before.")
