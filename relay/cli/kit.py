"""``relay kit``: what an installation without a network needs, in one folder on a stick."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import ask, options, places
from relay.cli.top import command, warn
from relay.errors import UserError, some
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.trust import Identity

kit_app = typer.Typer(
    no_args_is_help=True,
    help="Collect, verify and update what an installation without a network needs.",
    **options.PLAIN,
)
THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
Kit = Annotated[Path, typer.Argument(help="The folder of a kit.", metavar="KIT")]
NewFolder = Annotated[Path, typer.Option("-o", "--to", help="A new or empty folder.", metavar="FOLDER")]


@kit_app.command()
@command
def build(
    to: NewFolder,
    python: Annotated[
        str, typer.Option("--python", help="Its Python there.", callback=options.value, metavar="VERSION")
    ] = THIS_PYTHON,
    platform: Annotated[
        str,
        typer.Option("--platform", help="linux_x86_64, linux_aarch64, win_amd64, macosx_arm64.", metavar="A,B"),
    ] = "linux_x86_64",
    accelerator: Annotated[
        str, typer.Option("--accelerator", help="torch's build: cpu, cu126, …, or default.", callback=options.value)
    ] = "cpu",
    index: Annotated[
        list[str] | None,
        typer.Option("--index", help="Another index, or a folder of wheels. Can be repeated.", metavar="URL|FOLDER"),
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="relay's own wheel. Default: built here.", metavar="FILE")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option("--docs", help="The built docs. Default: build/docs.", metavar="FOLDER")
    ] = None,
    add: Annotated[
        list[Path] | None,
        typer.Option("--add", help="Also carry this: a config, weights. Can be repeated.", metavar="FILE|FOLDER"),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Don't sign, even if there are keys here.")] = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """On a machine with a network, download everything relay needs into one folder.

    pip downloads wheels from the registry it is configured with. If this home has keys, they sign the manifest.
    """
    from relay.exchange import utc_now
    from relay.installed import lock_here
    from relay.kit import Order, build as build_kit, check_empty, find, own_wheel, sign, weights_of

    chosen, folder, place = find(ask.listed(platform) or []), new_folder(to), home_of(home)
    check_empty(folder)
    given = None if wheel is None else relay_wheel(wheel)
    added = [expanded(path) for path in add or ()]
    weights = weights_of([path for path in added if path.exists()])
    for path in weights:
        ask.say(f"Also carried, because a config names them: the pretrained weights {path}")
    added += weights
    order = Order([], chosen, python, accelerator, tuple(index or ()), lock_here(), built_docs(docs), added)
    keys = None if unsigned or not (place / "identity.json").exists() else places.unlock(place, passphrase_file)
    with tempfile.TemporaryDirectory(prefix="relay-kit-") as name:
        own = given or own_wheel(Path(name))
        content = build_kit(replace(order, requirements=[f"{own}[ui]"]), folder, utc_now(), ask.say)
    if keys is not None:
        sign(folder, keys)
    describe(folder, content, keys.identity if keys else None)
    ask.say("Next: copy the folder to a stick. Keep these lines: they are what to compare with, by voice.")


def new_folder(path: Path) -> Path:
    """A folder to make, in one that is there: the path of a missing stick looks like one to make, too.

    Raises:
        UserError: the folder that it is to be in does not exist.
    """
    folder = expanded(path).resolve()
    places.folder_there(folder.parent)
    return folder


def relay_wheel(path: Path) -> Path:
    """The wheel of relay that was given.

    Raises:
        UserError: there is no such file, or it is another one.
    """
    file = expanded(path)
    if not (file.is_file() and file.match("relay_learning-*.whl")):
        raise UserError(
            f"--wheel {path}: must be a file with relay's own wheel, relay_learning-VERSION-py3-none-any.whl",
            "Correct the path, or leave --wheel out, in a clone of relay.",
        )
    return file


def built_docs(given: Path | None) -> Path | None:
    """The docs as HTML: as given, else what ``make docs`` has built in the current folder; None if there are none.

    Raises:
        UserError: the given folder has none.
    """
    folder = Path("build/docs") if given is None else expanded(given)
    if (folder / "index.html").is_file():
        return folder
    if given is not None:
        raise UserError(f"there are no built docs in {given}: it has no index.html", "Build them: make docs")
    warn("the docs are not in the kit, because build/docs is not here. Build them with: make docs")
    return None


def describe(folder: Path, content: dict[str, Any], signer: Identity | None) -> None:
    """Print what a kit holds, and its fingerprints."""
    from relay.kit import verify_kit

    entries = content["files"].values()
    systems = ", ".join(content["platforms"])
    ask.say(f"relay {content['relay']} for Python {content['python']} on {systems}, torch for {content['accelerator']}")
    ask.say(f"{len(entries)} files, {sum(entry['bytes'] for entry in entries) / 1e6:,.0f} MB, in {folder}")
    for what, name in (("verifier", "verify_kit.py"), ("manifest", verify_kit.MANIFEST)):
        digest = verify_kit.sha256(folder / name)
        ask.say(f"{what}  {ask.in_words(digest)}", f"          SHA-256 of {name}: {digest}")
    if signer is None:
        ask.say("It is not signed.")
    else:
        ask.say(f"signed by {signer.name}: {signer.fingerprint}")


@kit_app.command()
@command
def verify(
    kit: Kit,
    fingerprint: options.Fingerprint = None,
    home: options.Home = None,
) -> None:
    """Verify every file of a kit, and its signature if there is one.

    Where relay is not installed yet, the kit's own verify_kit.py does the same, but knows no signers.
    """
    from relay.kit import opened

    folder = expanded(kit)
    found = opened(folder)
    describe(folder, found.content, found.signer)
    if found.unlisted:
        ask.say(f"Not part of this kit, and not used: {some(found.unlisted)}")
    if found.signer is None:
        if fingerprint is not None:
            raise UserError(
                f"the kit in {folder} is not signed, so it has no signer whose fingerprint could be compared",
                "Compare the words of its manifest, or ask for a signed kit.",
            )
        warn("no one signed this kit: compare the words of the manifest with those that its builder reads out")
    elif fingerprint is not None:
        ask.compare_fingerprint(found.signer, fingerprint, "signer")
    elif who := known(found.signer, home_of(home)):
        ask.say(f"The signer is {who}.")
    else:
        warn("the signer is not known here: compare the words of its fingerprint, or give them with --fingerprint")
    ask.say("Complete and unchanged.")


def known(signer: Identity, home: Path) -> str | None:
    """Who a signer is, if this home knows: itself, or the pinned coordinator of a study."""
    from relay.errors import RelayError
    from relay.exchange import StudyStore
    from relay.trust import keys

    if (home / "identity.json").is_file() and keys.identity(home).signing == signer.signing:
        return "this site itself"
    for path in sorted(home.glob("studies/*/coordinator.json")):
        study = path.parent.name
        try:
            if StudyStore(home, study).coordinator.signing == signer.signing:
                return f"the coordinator of study {study}"
        except RelayError as error:
            warn(str(error))
    return None


@kit_app.command()
@command
def update(
    kit: Kit,
    against: Annotated[Path, typer.Option("--against", help="MANIFEST.json of the earlier kit.", metavar="MANIFEST")],
    to: NewFolder,
) -> None:
    """Copy what is new or changed since an earlier kit, to be copied over that kit."""
    from relay.kit import update as update_kit

    folder = new_folder(to)
    new, beside, gone = update_kit(expanded(kit), expanded(against), folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    ask.say(f"{len(new)} new or changed files" + (f": {some(new)}" if new else ""))
    ask.say(f"With what every kit begins with ({some(beside, most=9)}): {size / 1e6:,.1f} MB, in {folder}")
    if gone:
        ask.say(f"No longer part of the kit, and not used any more: {some(gone)}")
    ask.say("Next: copy everything in it over the earlier kit. Then: python -I verify_kit.py")
