"""Give the final model to an outside hospital: ``relay share``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command
from relay.errors import UserError

if TYPE_CHECKING:
    from relay.trust import Identity


@command
def share(
    reader: Annotated[
        Path, typer.Option("--to", help="The outside hospital's identity.json: its public keys.", metavar="FILE")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder (a stick) to put it in.", metavar="FOLDER")],
    experts: Annotated[
        bool,
        typer.Option(
            "--experts", help="Also give all sites' experts, and the memories that an image finds its own by."
        ),
    ] = False,
    approved_by: Annotated[
        str | None,
        typer.Option("--approved-by", help="Who approves it; kept in this site's ledger.", metavar="NAME"),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why it may leave; kept there, too.")] = None,
    volume: Annotated[
        int | None, typer.Option("--volume", help="Largest file, in bytes. Default: what the stick allows.", min=2**20)
    ] = None,
    config: options.SomeConfig = None,
    study: options.Study = None,
    yes: options.Yes = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Give the final model of a study to one hospital outside it: show what would leave, ask, sign it and seal it.

    The policy must have share: sites. The hospital needs no roster and no turn; it receives the file like a site.
    """
    from relay.exchange import approving, sharing
    from relay.trust import roster_name

    target, found = places.folder_there(output), places.deployment(config)
    store = places.store_for(found, home, study)
    whom = _identity(reader)
    approver = None
    if approved_by is not None or reason is not None:
        approver = approving.approver(approved_by or "", reason or "")
    with store.alone():
        shareable = sharing.shareable(store, whom, experts)
        ask.say(*sharing.lines(store, whom, shareable, target))
        ask.say(f"The fingerprint of {whom.name}:")
        ask.has_read_out(whom, yes)
        if yes:
            ask.say(ask.UNCOMPARED, err=True)
        if not ask.agreed("Share it?", yes):
            raise UserError("not shared; nothing was signed or written", "Run the command again to share it.")
        keys = places.unlock(store.home, places.passphrase_file_of(found, passphrase_file))
        files = sharing.share(store, keys, whom, shareable, target, approver, volume)
        places.put_file(target, roster_name(store.study, store.roster.version), sharing.roster_of(store))
    for file in files:
        ask.say(f"Written and read back: {file} ({file.stat().st_size:,} B)")
    ask.say(
        f"Next: carry the files to {whom.name}. There: relay roster install ROSTER, which asks to compare the words of "
        f"{store.coordinator.name}, the coordinator, by voice; then relay receive FOLDER."
    )


def _identity(path: Path) -> Identity:
    """The public keys in a file.

    Raises:
        UserError: it is another file.
    """
    from relay.trust import BadDocument, Identity, parse

    try:
        return parse(Identity, places.read_file(path), str(path))
    except BadDocument as error:
        raise UserError(
            f"{path} is not a hospital's public keys: {error}",
            "Give the file identity.json from the home of the hospital that shall get the model.",
        ) from error
