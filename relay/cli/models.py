"""Models as a library: ``relay models list``, ``show``, ``compare``, ``diff`` and ``merge``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places, show_models
from relay.cli.top import command, warn
from relay.errors import UserError, typed
from relay.files import expanded, write_text
from relay.home import home_of

if TYPE_CHECKING:
    from relay.models import Entry, Place

models_app = typer.Typer(no_args_is_help=True, help="Browse, compare and combine models.", **options.PLAIN)
ENDING = ".safetensors"
CARD = 20_000
"""How much of a model card is printed, in characters."""
WHERE = "A bundle; the folder of a leg (run, received or signed here) or of an adopted model; a file of relay models."
A = Annotated[Path, typer.Argument(help=WHERE, metavar="A")]
B = Annotated[Path, typer.Argument(help=WHERE, metavar="B")]
Out = Annotated[Path, typer.Option("-o", "--out", help="File to write: NAME.safetensors.", metavar="FILE")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace the file if it exists.")]


@models_app.command("list")
@command
def list_(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Default: exps/ and what was received and signed here.", metavar="[FOLDER]…"),
    ] = None,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """List the models in folders, such as a stick, a share or runs: what they are, their scores, their signatures."""
    from relay.models import library

    place = _place(home, passphrase_file)
    given = [expanded(path) for path in folders] if folders else _usual(place)
    found = library(given, place)
    for text in found.skipped:
        warn(f"skipped: {text}")
    if not found.entries:
        ask.say(f"There is no model in {', '.join(map(str, given))}.")
        return
    show_models.table(found)
    show_models.scores(found)
    ask.say("Files, and whether their models can be trusted:")
    for number, entry in enumerate(found.entries, 1):
        ask.say(f"  {number:>3}  {entry.path}", f"       {entry.trust.level}: {entry.trust.why}")
        if entry.about is not None:
            ask.say(f"       {show_models.descent(entry.about)}")
    if found.more:
        warn(f"there are more models; only {len(found.entries)} are listed. Name a smaller folder")


@models_app.command("show")
@command
def show(
    path: Annotated[Path, typer.Argument(help=WHERE, metavar="PATH")],
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Show a model's card, its lineage, and whether it can be trusted."""
    from relay.bundle import manifest

    (entry,), _ = _entries([path], home, passphrase_file)
    ask.say(f"{entry.path}", f"{entry.trust.level}: {entry.trust.why}")
    if entry.about is None:
        return
    about = entry.about
    for label, text in show_models.lines(about):
        ask.say(f"  {label:<10} {text}")
    ask.say("Lineage, oldest first:")
    for link in about.lineage[-show_models.ROWS :]:
        ask.say(f"  {link.text}")
    if about.parents:
        ask.say("Made from:", *(f"  {text}" for text in about.parents))
    if about.card is not None:
        if manifest.SHARE in about.sizes:
            ask.say("The model card describes the last leg's whole bundle; a share may leave out memories and experts.")
        ask.say("Model card, based on what its sites say:")
        ask.say(*(f"  {line}" for line in ask.printable(about.card[:CARD]).splitlines()))
    ask.say(f"{entry.trust.level}: {entry.trust.why}")


@models_app.command("config")
@command
def config(
    path: Annotated[Path, typer.Argument(help=WHERE, metavar="PATH")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: NAME.yaml.", metavar="FILE")],
    replace: Replace = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Write the config that a model was trained with, as far as the model tells it."""
    from relay.models import recovered

    target = _new(out, replace, ".yaml")
    (entry,), place = _entries([path], home, passphrase_file)
    write_text(target, recovered(entry.told, str(path), place.read_by(entry.path)))
    ask.say(f"Written: {target}. Set paths.data in it to the folder of your images.")
    if entry.trust.level != "verified":
        warn(f"{entry.trust.level}: {entry.trust.why}")


@models_app.command("compare")
@command
def compare(
    a: A,
    b: B,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Show where two models differ: their cards, their scores, their weights, and whether they are of one lineage."""
    from relay.models import compared

    (one, other), place = _entries([a, b], home, passphrase_file)
    found = compared(one, other, place)
    for name, entry in (("A", one), ("B", other)):
        ask.say(f"{name}: {entry.path}", f"   {entry.trust.level}: {entry.trust.why}")
    ask.say(found.relation)
    show_models.facts(found.facts)
    show_models.compared_scores(found)
    show_models.distances(found)


@models_app.command("diff")
@command
def diff(
    a: A,
    b: B,
    out: Out,
    replace: Replace = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Write the difference B - A of two models of one lineage, to add it to a model later."""
    from relay.models import make_difference

    path = _new(out, replace)
    (one, other), place = _entries([a, b], home, passphrase_file)
    make_difference(one, other, path, place, warn)
    ask.say(f"Written: {path} (B - A). Nobody has signed it.")


@models_app.command("merge")
@command
def merge(
    base: Annotated[Path, typer.Argument(help=WHERE, metavar="BASE")],
    differences: Annotated[
        list[Path], typer.Argument(help="Files that relay models diff wrote.", metavar="DIFFERENCE…")
    ],
    out: Out,
    scale: Annotated[float, typer.Option("--scale", help="What the differences are multiplied by.", metavar="S")] = 1.0,
    replace: Replace = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Write the model BASE + S * (sum of differences), all of one lineage; relay predict --weights tests it."""
    from relay.models import make_model

    if not math.isfinite(scale):
        raise UserError(f"--scale {scale}: not a finite number", "For example: --scale 0.5")
    path = _new(out, replace)
    (entry,), place = _entries([base], home, passphrase_file)
    make_model(entry, [expanded(each) for each in differences], scale, path, place, warn)
    ask.say(f"Written: {path}. Nobody has signed or tested it.")
    ask.say(f"Test it: {typed('relay', 'predict', '-c', 'CONFIG', '--weights', path)}")


def _place(home: Path | None, passphrase_file: Path | None) -> Place:
    from relay.models import Place

    found = home_of(home)
    return Place(found, lambda: places.unlock(found, passphrase_file))


def _entries(paths: Sequence[Path], home: Path | None, passphrase_file: Path | None) -> tuple[list[Entry], Place]:
    from relay.models import entries_of

    place = _place(home, passphrase_file)
    return entries_of(map(expanded, paths), place), place


def _usual(place: Place) -> list[Path]:
    """The folders that are listed if none is given.

    Raises:
        UserError: there are none.
    """
    there = [path for path in (Path("exps"), place.home / "studies") if path.is_dir()]
    if not there:
        raise UserError(
            f"there is neither exps/ here nor a study in {place.home}", "Name a folder: relay models list FOLDER"
        )
    return there


def _new(out: Path, replace: bool, ending: str = ENDING) -> Path:
    """The file to write.

    Raises:
        UserError: it has another ending, its folder doesn't exist, or it exists and may not be replaced.
    """
    path = expanded(out)
    if not path.name.endswith(ending) or path.name.startswith("."):
        better = path.parent / f"{path.stem.lstrip('.') or 'new'}{ending}"
        raise UserError(f"-o {out}: the file's name must end with {ending}", f"For example: -o {better}")
    if path.exists() and not (replace and path.is_file()):
        raise UserError(f"{path} exists", "Choose another name, or add --replace.")
    places.folder_there(path.parent)
    return path
