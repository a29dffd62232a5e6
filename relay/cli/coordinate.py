"""The coordinator's commands for the roster: ``relay roster make`` and ``amend``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places, show
from relay.cli.top import command
from relay.errors import UserError
from relay.home import home_of

if TYPE_CHECKING:
    from relay.exchange import StudyStore
    from relay.trust import Identity, Keys, Roster

Requests = Annotated[list[Path], typer.Argument(help="The sites' request files.", metavar="REQUEST")]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", help="YAML file; keys that are not in it keep their defaults.", metavar="FILE"),
]
Readers = Annotated[
    str | None,
    typer.Option("--readers", help="Comma-separated names of those who can open every bundle.", callback=options.value),
]
DAYS = 180
"""A site from which newer rosters are withheld notices after this many days, at the latest (docs/decisions/0016)."""
ORDER = "Site of each leg, comma-separated: a,b,c; names may repeat."


@command
def make(
    requests: Requests,
    order: Annotated[str, typer.Option("--order", help=ORDER, callback=options.value)],
    to: options.To,
    policy: Policy = None,
    readers: Readers = None,
    days: Annotated[int, typer.Option("--days", help="How many days the roster is valid.")] = DAYS,
    study: options.Study = None,
    yes: options.Yes = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """As the coordinator, make a study's first roster from the sites' requests."""
    from relay.trust import Policy, read_policy, roster_builder

    folder, store = places.folder_there(to), places.store_of(home_of(home), study)
    if (there := store.trusted) is not None:
        raise UserError(
            f"study {store.study} already has roster {there.roster.version}",
            "Make the next one: relay roster amend --done N ... Or write it again: relay roster export -o FOLDER",
        )
    rules = read_policy(policy) if policy else Policy()
    keys = _as_coordinator(store, passphrase_file)
    sites = _approved(requests, keys, store, yes)
    names, also = ask.listed(order) or [], ask.listed(readers) or []
    made = roster_builder.first(store.study, keys.identity, sites, names, rules, store.now(), days, also)
    show.roster_change(None, made)
    _issue(store, keys, made, folder)


@command
def amend(
    done: Annotated[int, typer.Option("--done", help="How many legs are final; later ones can change.")],
    to: options.To,
    requests: Annotated[
        list[Path] | None,
        typer.Argument(help="Requests from new sites, or from known ones with new keys.", metavar="REQUEST"),
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="Comma-separated names of sites that leave.", callback=options.value)
    ] = None,
    revoke: Annotated[
        str | None,
        typer.Option("--revoke", help="Comma-separated names of sites whose keys to revoke.", callback=options.value),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="The reason for --revoke.")] = "revoked by the coordinator",
    order: Annotated[
        str | None,
        typer.Option("--order", help=f"{ORDER} Give all legs, the completed ones first.", callback=options.value),
    ] = None,
    withdraw: Annotated[
        str | None,
        typer.Option(
            "--withdraw-expert",
            help="Comma-separated names of sites whose experts no longer travel.",
            metavar="SITE[,SITE]",
            callback=options.value,
        ),
    ] = None,
    policy: Policy = None,
    readers: Readers = None,
    days: Annotated[
        int | None, typer.Option("--days", help="How many days the roster is valid from now. Default: as before.")
    ] = None,
    study: options.Study = None,
    yes: options.Yes = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """As the coordinator, make the next roster: add or drop sites, renew keys, change the order or the policy.

    Anything you don't give stays as it is.
    """
    from relay.trust import read_policy, roster_builder

    folder, store = places.folder_there(to), places.store_of(home_of(home), study)
    old = store.roster
    rules = read_policy(policy) if policy else None
    keys = _as_coordinator(store, passphrase_file)
    sites = _approved(requests or [], keys, store, yes)
    made = roster_builder.amend(
        old,
        store.now(),
        done=done,
        add=sites,
        drop=ask.listed(drop) or [],
        revoke=dict.fromkeys(ask.listed(revoke) or [], reason),
        order=ask.listed(order),
        policy=rules,
        readers=ask.listed(readers),
        days=days,
        withdraw=ask.listed(withdraw) or [],
    )
    ask.say(
        f"Legs up to {done} are final. Any later leg made under roster {old.version} or before is void; repeat it."
        if done < len(old.order)
        else f"All {done} legs are final."
    )
    if new := sorted({*made.withdrawn_experts} - {*old.withdrawn_experts}):
        ask.say(
            f"The experts of these legs no longer travel: {', '.join(map(str, new))}. Every site that received "
            "them still has the files, and the one model keeps what it learned from these sites' images in their legs."
        )
    show.roster_change(old, made)
    if not ask.agreed("Sign this roster?", yes):
        raise UserError("not signed; nothing has changed", "Run the command again with the options you want.")
    _issue(store, keys, made, folder)


def _as_coordinator(store: StudyStore, passphrase_file: Path | None) -> Keys:
    """The coordinator's keys.

    Raises:
        UserError: someone else is the coordinator.
    """
    if store.identity != store.coordinator:
        raise UserError(
            f"the coordinator of study {store.study} is {store.coordinator.name}; "
            f"the keys in {store.home} are those of {store.identity.name}",
            "Only the coordinator makes rosters. Give the coordinator's folder: --home DIR.",
        )
    return places.unlock(store.home, passphrase_file)


def _approved(files: Sequence[Path], keys: Keys, store: StudyStore, yes: bool) -> list[Identity]:
    """The sites of these requests, after each fingerprint was compared.

    Raises:
        UserError: one was not.
        Refused: a request is not valid.
    """
    from relay.trust import request

    found = [request.check(places.read_file(path), keys, store.study, store.now()) for path in files]
    known = {site.name: site for site in store.trusted.roster.sites} if store.trusted else {}
    for site in found:
        word = "new keys from" if site.name in known else "request from"
        ask.say(f"{word} {site.name} (keys valid until {site.expires[:10]}), with the fingerprint")
        ask.has_read_out(site, yes)
    if yes and found:
        ask.say(ask.UNCOMPARED, err=True)
    return found


def _issue(store: StudyStore, keys: Keys, made: Roster, folder: Path) -> None:
    """Sign a roster and write it. It is installed here first, so that no second one of its version is ever made."""
    from relay.trust import roster_name, sign_roster

    data = sign_roster(made, keys)
    store.install(data)
    places.put_file(folder, roster_name(store.study, made.version), data)
    ask.say("Next: carry it to every site and run there: relay roster install ROSTER. Bundles also contain it.")
