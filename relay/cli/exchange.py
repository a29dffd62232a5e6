"""The hand-over: ``relay receive`` and ``relay send``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places, show
from relay.cli.top import command
from relay.errors import UserError
from relay.files import expanded

if TYPE_CHECKING:
    from relay.exchange import Draft, ExpectedConfig, StudyStore

Note = Annotated[
    str,
    typer.Option("-n", "--note", help="With -c, the run's name: exps/<config>/<note>.", callback=options.plain_note),
]

UNCHECKED = (
    "warning: without -c CONFIG, nothing checks whether the bundle matches this site's net, classes and images; with "
    "it, you find out while the bundle can still be replaced"
)


@command
def receive(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="The bundle, or the folder (a stick) to find it in. Default: handoff.receive in the config. "
            "With -c, key=value overrides the config.",
            metavar="BUNDLE|FOLDER|KEY=VALUE",
        ),
    ] = None,
    config: options.SomeConfig = None,
    study: options.Study = None,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Verify the previous leg's bundle, check its weights, and accept it.

    Give -c to also check that it matches this site: the net, classes and images in that config.
    """
    given, overrides = places.path_and_overrides(words)
    found = places.deployment(config, overrides)
    store = places.store_for(found, home, study)
    source = given or (expanded(found.handoff.receive) if found and found.handoff.receive else None)
    if source is None:
        raise UserError("no bundle to receive is given", "Name the bundle or the stick's folder: relay receive FOLDER")
    from relay.exchange import gate, receiving, select_bundle

    fit: ExpectedConfig | None = None
    weigh: receiving.AcceptanceCheck = gate.weigh
    if found is not None:
        from relay.leg import expected_config, quick_check

        fit, weigh = expected_config(found.leg), quick_check(found.leg)
    else:
        ask.say(UNCHECKED, err=True)
    bundle = select_bundle.choose(store, source) if source.is_dir() else source
    places.is_sealed(bundle)  # so that no one types a passphrase for a file that does not exist
    keys = places.unlock(store.home, places.passphrase_file_of(found, passphrase_file))
    ask.say(f"Opening {bundle}")
    done = receiving.receive(store, keys, bundle, weigh, fit)
    claim = done.claim
    again = " It was received before." if done.again else ""
    ask.say(f"Received: leg {claim.leg} of {claim.study}, by {claim.site}, verified.{again}")
    if done.share:
        ask.say(*show.share(done.share), *show.copied(done))
    show.matrix([made.claim for made in done.statements])
    wanted = store.roster.policy.gate.min_score
    later = [f"min_score {wanted} is not checked here; relay train checks it before it trains"] if wanted else []
    for note in (*done.notes, *later):
        ask.say(f"  {note}")
    ask.say(f"Receipt, to print and sign: {store.command('receipt', '--leg', claim.leg)}")
    _say_next(store)


def _say_next(store: StudyStore) -> None:
    show.ending(store)
    turn = store.next_turn() if store.context().site else None
    if turn is None:
        ended = f"{store.identity.name} has no turn left. " if store.context().site else ""
        ask.say(
            f"{ended}To test the model here: "
            f"relay predict -c CONFIG --received {store.ledger.record().newest}. "
            "To choose one for your own patients after the last leg: relay adopt -c CONFIG -n NOTE"
        )
    else:
        ask.say(f"Next: train leg {turn} (relay train -c CONFIG).")


@command
def send(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="The handover of a finished leg. Default: that of -c and -n, else what was signed last. "
            "With -c, key=value overrides the config.",
            metavar="HANDOVER_FOLDER|KEY=VALUE",
        ),
    ] = None,
    config: options.SomeConfig = None,
    note: Note = "run",
    to: Annotated[
        Path | None,
        typer.Option(
            "-o", "--to", help="Folder (a stick) to put it in. Default: handoff.send in the config.", metavar="FOLDER"
        ),
    ] = None,
    volume: Annotated[
        int | None, typer.Option("--volume", help="Largest file, in bytes. Default: what the stick allows.", min=2**20)
    ] = None,
    approved_by: Annotated[
        str | None,
        typer.Option("--approved-by", help="Who approves what leaves; kept in this site's ledger.", metavar="NAME"),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why it may leave; kept there, too.")] = None,
    approved_list: Annotated[
        str | None,
        typer.Option(
            "--approved-list",
            help="Refuse unless this is the SHA-256 of the list, as --preview showed it.",
            metavar="SHA256",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would leave and its SHA-256; sign and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --preview: as JSON.")] = False,
    study: options.Study = None,
    yes: options.Yes = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Show what would leave, ask, then sign it, seal it for the next site and put it on the stick.

    --preview shows it and stops. Where the study's policy requires approval, say who approves it and why.
    """
    from relay.exchange import sending

    given, overrides = places.path_and_overrides(words)
    found = places.deployment(config, overrides)
    store = places.store_for(found, home, study)
    target = to or (Path(found.handoff.send) if found and found.handoff.send else None)
    handover = given or (_handover(found, note) if found else None)
    if as_json and not preview:
        raise UserError("--json is given without --preview", "Add --preview: only what would leave is shown as JSON.")
    if preview:
        with store.alone():
            _preview(store, handover, target, as_json)
        return
    if target is None:
        raise UserError(
            "no folder to send to is given", "Name the stick's folder: -o FOLDER, or handoff.send in the config."
        )
    target = places.folder_there(target)
    secret = places.passphrase_file_of(found, passphrase_file)
    approve = partial(_approve, store, name=approved_by, reason=reason, shown=approved_list)
    with store.alone():
        drafted = _signed(store, handover, secret, target, yes, approve)
        leg = drafted.claim.leg
        files = sending.export(store, leg, target, volume or (found.handoff.volume if found else None))
    for file in files:
        ask.say(f"Written and read back: {file} ({file.stat().st_size:,} B)")
    whom = ", ".join(recipient.name for recipient in drafted.claim.recipients)
    ask.say(f"Receipt, to print and sign: {store.command('receipt', '--leg', leg)}")
    ask.say(f"Next: eject the stick and carry {'it' if len(files) == 1 else 'all these files'} to {whom}.")


def _preview(store: StudyStore, handover: Path | None, target: Path | None, as_json: bool) -> None:
    """Show what would leave; no key is needed for it."""
    from relay.exchange import approving, drafting

    with drafting.drafted(store, handover) as drafted:
        if as_json:
            ask.say(*json.dumps(approving.preview(store, drafted), indent=1).splitlines())
            return
        _show_draft(store, drafted, target)
        ask.say(f"{'list':<16} sha256 {drafted.digest()}")


def _signed(
    store: StudyStore,
    handover: Path | None,
    passphrase_file: Path | None,
    target: Path,
    yes: bool,
    approve: Callable[[Draft], None],
) -> Draft:
    """Show what would leave, ask, and sign it.

    Args:
        approve: writes to the ledger who approves it.

    Raises:
        UserError: the answer was no; nothing was signed.
        NotApproved: it is not what was shown, or the policy requires an approval.
    """
    from relay.exchange import drafting, sending

    keys = None if handover is None else places.unlock(store.home, passphrase_file)
    with drafting.drafted(store, handover) as drafted:
        _show_draft(store, drafted, target)
        if not ask.agreed("Send it?", yes):
            raise UserError("not sent; nothing was signed or written", "Run the command again to send it.")
        approve(drafted)
        if keys is not None:
            sending.sign(store, keys, drafted)
    return drafted


def _approve(store: StudyStore, drafted: Draft, name: str | None, reason: str | None, shown: str | None) -> None:
    """Write to the ledger who approves what leaves, if someone does or must; on a terminal, ask for what is missing.

    Raises:
        NotApproved: it is not the list that was shown.
        UserError: the name or the reason is missing, or can't be kept.
    """
    from relay.exchange import approving

    required = store.roster.policy.approval == "required"
    if not (required or name or reason or shown):
        return
    leg, listed = drafted.claim.leg, drafted.digest()
    approving.check_shown(leg, listed, shown)
    if not (required or name or reason):
        return
    known = approving.approval(store, leg, listed)
    if known and not (name or reason):
        ask.say(f"It was {known}")
        return
    name = name or ask.answer("Who approves it?", "")
    reason = reason or ask.answer("Why may it leave?", "")
    approving.approve(store, leg, listed, approving.approver(name, reason))


def _handover(found: places.Deployment, note: str) -> Path:
    """Where a run of this config put its leg's handover."""
    from relay.leg import RunPaths

    return RunPaths(Path("exps") / found.name / note).leg(found.leg.folder).handover


def _show_draft(store: StudyStore, drafted: Draft, target: Path | None) -> None:
    """Show everything that will leave, before anyone is asked."""
    ask.say(*drafted.lines(store.roster.policy), *([f"{'to':<16} {target}"] if target else []))
    if drafted.signed:
        ask.say(f"It was already signed, on {drafted.claim.issued}; this sends the same again.")
