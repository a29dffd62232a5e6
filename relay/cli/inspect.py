"""Examine a bundle without receiving it: ``relay verify`` and ``relay inspect``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, export, options, places, show
from relay.cli.top import command
from relay.errors import UserError, some, typed
from relay.home import home_of

if TYPE_CHECKING:
    from relay.bundle import Opened
    from relay.trust import Claim

LEGS = 20
"""How many of the newest legs of an unverified bundle are shown, however many it claims to have."""
CARD = 20_000
"""How much of a model card is printed, in characters."""
Bundle = Annotated[Path, typer.Argument(help="The bundle, or one of its volumes.", metavar="BUNDLE")]


@command
def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="The bundle, or one of its volumes; or the folder of an export.", metavar="[BUNDLE]"),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", help="Compare another site's receipt with this site's ledger.", metavar="FILE"),
    ] = None,
    look_on: Annotated[
        bool, typer.Option("--look-on", help="Ignore whose turn it is: for the coordinator or an auditor.")
    ] = False,
    study: options.Study = None,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Check a bundle, a receipt or an export against every rule, without keeping anything."""
    from relay.exchange import receipt as receipts, verify as hold

    if bundle is not None and receipt is None and export.is_export(bundle):
        export.check(bundle)
        return
    if (bundle is None) == (receipt is None):
        raise UserError("nothing to verify is given", "Name a bundle, or a receipt: relay verify --receipt FILE")
    text = places.read_file(receipt).decode(errors="replace") if receipt is not None else ""
    sealed = bundle is not None and _is_sealed(bundle)  # what is not there is told before what is not known of it
    store = places.store_of(home_of(home), study)
    if receipt is not None:
        ask.say(f"The receipt is right: {receipts.check(store, text)}.")
        return
    assert bundle is not None
    keys = places.unlock(store.home, passphrase_file) if sealed else None
    done = hold(store, keys, bundle, look_on)
    claim = done.claim
    ask.say(f"Verified: leg {claim.leg} of {claim.study}, by {claim.site}; {len(done.entries)} files.")
    for step, text in show.STEPS.items():
        ask.say(f"  {step:<10} {text}")
    site = store.context(look_on).site
    if done.share:
        ask.say(*show.share(done.share))
    else:
        ask.say(f"Judged as {site}." if site else "Judged as an observer: whose turn it is was not checked.")
    show.custody(done.statements)
    claims = [made.claim for made in done.statements]
    show.memories(done.memories, claims)
    show.experts(claims, done.entries)
    after = "" if look_on else f" Next: {store.command('receive', bundle)}"
    ask.say(f"Nothing was kept, and the weights were not examined.{after}")


@command
def inspect(
    bundle: Bundle,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Show what is in a bundle, as far as you can open it, and whether it can be trusted."""
    from relay.bundle import opened
    from relay.trust import CannotOpen, Policy

    place, sealed, keys = home_of(home), _is_sealed(bundle), None
    if sealed:
        _outside(bundle)
        try:
            keys = places.unlock(place, passphrase_file)
        except UserError as error:
            _no_further(f"{error}. {error.advice()}")
            return
    try:
        with opened(bundle, keys, place if place.is_dir() else Path(gettempdir()), Policy().max_bundle_bytes) as inside:
            _inside(place, inside)
    except CannotOpen as error:
        _no_further(f"{error}. {error.advice()}")


def _is_sealed(bundle: Path) -> bool:
    """Whether a bundle is sealed.

    Raises:
        UserError: there is no bundle: the message says what is there.
    """
    if not bundle.is_dir():
        return places.is_sealed(bundle)
    from relay.bundle import find
    from relay.kit import verify_kit

    if export.is_export(bundle):
        raise UserError(f"{bundle} is an export, not a bundle", f"Verify it: {typed('relay', 'verify', bundle)}")
    if (bundle / verify_kit.MANIFEST).is_file():
        raise UserError(f"{bundle} is a kit, not a bundle", f"Verify it: {typed('relay', 'kit', 'verify', bundle)}")
    if there := [found.path for found in find(bundle)]:
        raise UserError(
            f"{bundle} is a folder with bundles: {some([path.name for path in there])}", f"Name one: {typed(there[0])}"
        )
    raise UserError(
        f"{bundle} is not an export, a kit or a bundle: it has no statement.json and no {verify_kit.MANIFEST}",
        "Name the folder that relay export or relay kit build wrote, or the file of a bundle.",
    )


def _outside(bundle: Path) -> None:
    """What anyone can see of a sealed bundle."""
    from relay.bundle import HEADER, open_volumes, seal_of

    with open_volumes(bundle) as file:
        head, size, count = file.read(HEADER), file.size, len(file.paths)
    ask.say(f"{bundle.name}: sealed with age for {seal_of(head)}, {size:,} B in {count} file(s).")


def _no_further(why: str) -> None:
    ask.say(f"Not opened: {why}")
    ask.say("NOT VERIFIED: from outside, you see the size and how many can open it, not who made it or for whom.")


def _inside(home: Path, inside: Opened) -> None:
    """Entries, claim, chain and model card, under a line that says whether they can be trusted."""
    from relay.bundle import manifest

    own = _claim(inside, manifest.STATEMENT)
    believed = _belief(home, own.study, inside)
    ask.say(believed)
    first = max(1, inside.layout.legs + 1 - LEGS)
    claims = [*_earlier(inside, first), own]
    ask.say(f"{f'Sealed to {inside.seal}' if inside.seal else 'Not sealed'}, {inside.size:,} B. It contains:")
    show.entries({name: entry.size for name, entry in inside.entries.items()})
    if inside.share is not None:
        ask.say(*_share(inside.share))
    ask.say("Its site says:")
    show.claim(own)
    show.matrix(claims)
    if first > 1:
        ask.say(f"  and the {first - 1} leg(s) before leg {first}, not shown")
    _memories(claims, inside)
    show.experts(claims, inside.sizes)
    _audits(claims[:-1], inside)
    if inside.share is not None:
        ask.say("The model card describes the last leg's whole bundle; a share may leave out memories and experts.")
    ask.say("Model card, based on what its sites say:")
    ask.say(*(f"  {line}" for line in _card(claims, inside)[:CARD].splitlines()))
    ask.say(believed)


def _claim(inside: Opened, name: str) -> Claim:
    """What a site says about its leg; anyone could have written it."""
    from relay.trust import statement

    return statement.parse(statement.peek(inside.read(name), name)[0].unverified, name)[0]


def _share(envelope: bytes) -> list[str]:
    """Whom a copy is for, as whoever gave it says; anyone could have written it."""
    from relay.trust import Share, statement

    return show.share(statement.parse_as(Share, statement.peek(envelope, "the share")[0].unverified, "the share")[0])


def _earlier(inside: Opened, first: int) -> Iterator[Claim]:
    """What the sites of the earlier legs say, from leg ``first`` on, without the recipients."""
    from relay.bundle import manifest

    for leg in range(first, inside.layout.legs + 1):
        yield replace(_claim(inside, manifest.earlier(leg, manifest.STATEMENT)), recipients=[])


def _memories(claims: list[Claim], inside: Opened) -> None:
    """What the cards of the memories say, as far as they can be read."""
    from relay.bundle import MemoryCard, manifest
    from relay.trust import Refused, parse

    cards = {}
    shown = {manifest.earlier(claim.leg, manifest.MEMORY) for claim in claims[:-1]} | {*manifest.OWN}
    for name in [name for name in inside.layout.memories if name in shown]:
        card = manifest.card_of(name)
        try:
            cards[name] = parse(MemoryCard, inside.read(card), card)
        except Refused as error:
            ask.say(f"Not shown: {error}")
    show.memories(cards, claims)


def _audits(claims: list[Claim], inside: Opened) -> None:
    """What the audits of earlier legs found, as far as it can be read; the newest leg's is in the model card."""
    from relay.bundle import audits, documents, manifest
    from relay.trust import BadDocument

    for claim in claims:
        name = manifest.earlier(claim.leg, manifest.DATA_CARD)
        try:
            found = documents.read(manifest.DATA_CARD, inside.read(name)).privacy_audit
        except BadDocument as error:
            ask.say(f"Not shown: {name}: {error}")
        else:
            ask.say(*(f"{label}: {text}" for label, text in audits.told([claim], {claim.leg: found})))


def _card(claims: list[Claim], inside: Opened) -> str:
    """The model card as this program writes it; the text of the one in the bundle is not checked."""
    from relay.bundle import cards, documents, manifest
    from relay.trust import BadDocument

    names = (manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD)
    try:
        head, config, data = (documents.read(name, inside.read(name)) for name in names)
    except BadDocument as error:
        return ask.printable(f"it can't be made: {error}")
    return ask.printable(
        cards.model_card(claims, head, config, data.counts, inside.sizes, documents.stated(data), data.privacy_audit)
    )


def _belief(home: Path, study: str, inside: Opened) -> str:
    """Whether it follows all rules except those about turns, as a sentence."""
    from relay.exchange import StudyStore, judge
    from relay.trust import Refused

    store = StudyStore(home, study)
    if not store.knows_coordinator:
        return f"NOT VERIFIED: study {study} is not known in {home}, so there is no one to trust. The bundle says:"
    try:
        judge(inside, store.context(look_on=True))
    except Refused as error:
        return f"NOT VERIFIED: {error}. {error.advice()}"
    return "Verified, as an observer. To also check that it is for this site, run relay verify."
