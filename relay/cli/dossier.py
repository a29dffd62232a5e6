"""``relay dossier``: papers for regulators and ethics boards, from the signed record of a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command, warn
from relay.errors import UserError, typed
from relay.files import expanded
from relay.home import home_of


@command
def dossier(
    to: options.To,
    study: options.Study = None,
    home: options.Home = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", help="Versions tested together. Default: relay's own.", metavar="FILE")
    ] = None,
    receipt: Annotated[
        list[Path] | None, typer.Option("--receipt", help="Another site's receipt, for the log.", metavar="FILE")
    ] = None,
) -> None:
    """Write drafts for regulators and the ethics board from the signed record of a study.

    Model card, change control plan (FDA), technical documentation and log (AI Act), software and SOUP list (IEC 62304),
    cover sheet for the ethics board. Every statement cites a file, its digest and the place in it. What the record
    does not say is left open. If the record or a receipt does not verify, nothing is written.
    """
    folder, store = places.folder_there(to), places.store_of(home_of(home), study)
    file = _lock(lock)
    from relay.dossier import read_record, write_dossier
    from relay.exchange import receipt as receipts
    from relay.trust import Refused

    record = read_record(store)
    for path in receipt or ():
        text = places.read_file(path).decode(errors="replace")
        try:
            receipts.check(store, text)
        except (Refused, UserError) as error:
            raise type(error)(f"{path}: {error}", error.advice()) from error
    if not record.legs:
        warn(f"no leg of study {store.study} is in {store.home}: only what was planned can be written")
    made = write_dossier(record, folder, file, [expanded(path) for path in receipt or ()])
    ask.say(*(f"Written: {path}" for path in made.files))
    ask.say(f"The record verifies: {len(record.legs)} leg(s). {sum(made.open.values())} gaps are left to people:")
    ask.say(*(f"  {name}: {gaps}" for name, gaps in made.open.items()))
    ask.say(f"To check what is cited: {_check(store.home, (folder / 'home.sha256').resolve())}")


def _check(home: Path, digests: Path) -> str:
    """How to compare files with their digests: Windows has no program that reads a list of them."""
    if sys.platform == "win32":
        return f"in {home}, compare the lines of {digests} with: certutil -hashfile FILE SHA256"
    program = ("shasum", "-a", "256") if sys.platform == "darwin" else ("sha256sum",)
    return f"({typed('cd', home)} && {typed(*program, '-c', digests)})"


def _lock(given: Path | None) -> Path | None:
    """The lock that was given, else relay's own; without one, warn."""
    from relay.installed import lock_here

    if given is not None and not expanded(given).is_file():
        raise UserError(f"there is no file {given}", "Give a lock, a file of lines name==version, or leave --lock out.")
    found = expanded(given) if given is not None else lock_here()
    if found is None:
        warn("relay's lock (constraints.txt) is not here: the SOUP list says what is installed, not what was tested")
    return found
