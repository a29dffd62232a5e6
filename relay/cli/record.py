"""This site's records: ``relay receipt`` and ``relay ledger``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places, show
from relay.cli.top import command
from relay.errors import UserError, typed
from relay.home import home_of

if TYPE_CHECKING:
    from relay.exchange import StudyStore


@command
def receipt(
    leg: Annotated[
        int | None, typer.Option("--leg", help="Which leg. Default: the newest in the ledger.", min=1)
    ] = None,
    to: Annotated[Path | None, typer.Option("-o", "--to", help="Write it to this file.", metavar="FILE")] = None,
    study: options.Study = None,
    home: options.Home = None,
) -> None:
    """Print the receipt of a leg that was received or signed here."""
    from relay.bundle import writing_to
    from relay.exchange import receipt as receipts
    from relay.files import expanded, open_to_others, read_bytes, write_text

    store = places.store_of(home_of(home), study)
    text = receipts.write(store, leg).text()
    if to is None:
        ask.say(*text.splitlines())
        return
    target = expanded(to)
    places.folder_there(target.parent)
    if target.is_dir():
        raise UserError(
            f"{to} is a folder; a receipt is a file", f"Name the file: {typed('-o', target / 'receipt.txt')}"
        )
    if target.exists() and not (target.is_file() and read_bytes(target).startswith(b"RELAY RECEIPT")):
        raise UserError(f"{to} already exists and is not a receipt", "Give another name: -o FILE.")
    with writing_to(target.parent):
        write_text(target, text)
        open_to_others(target)
    ask.say(f"Written: {target}")
    ask.say("Next: print and sign it. The other site checks it with: relay verify --receipt FILE")


@command
def ledger(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="With --rebuild: the bundles you have.", metavar="BUNDLE")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Rebuild a lost or damaged ledger from bundles and this home.")
    ] = False,
    study: options.Study = None,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Show and check this site's record of a study, or rebuild it if it was lost."""
    store = places.store_of(home_of(home), study)
    if bundles and not rebuild:
        raise UserError(
            "bundles are only used with --rebuild", "To rebuild the ledger: relay ledger --rebuild BUNDLE..."
        )
    if rebuild:
        _rebuild(store, bundles or [], passphrase_file)
    store.whole()
    lines = store.ledger.lines()
    if not lines:
        ask.say(f"The ledger of study {store.study} in {store.home} is empty.")
        return
    show.ledger(lines)
    ask.say(f"Intact: {len(lines)} line(s) of study {store.study}, each chained to the one before.")


def _rebuild(store: StudyStore, bundles: list[Path], passphrase_file: Path | None) -> None:
    from relay.exchange import rebuild

    keys = places.unlock(store.home, passphrase_file) if any(map(places.is_sealed, bundles)) else None
    done = rebuild(store, keys, bundles)
    if done.aside:
        ask.say(f"The old ledger was moved aside: {done.aside}")
    if done.corrected:
        ask.say(f"{done.corrected} line(s) had a time in the future and now have the present time.")
    ask.say(f"Rebuilt: {len(done.added)} line(s) added" + _restored(done.restored))
    mine = sorted({line.facts["leg"] for line in done.added if line.event == "signed"})
    if mine:
        name = store.identity.name
        ask.say(
            f"These legs are signed in the name of {name}: {', '.join(map(str, mine))}. If {name} did not make them, "
            "someone else has its key: tell the coordinator."
        )
    ask.say("It contains only what these bundles and folders show: name the newest bundles you have.")


def _restored(legs: tuple[int, ...]) -> str:
    return f"; files of leg {', '.join(map(str, legs))} restored." if legs else "."
