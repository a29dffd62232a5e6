"""Models as a library: ``relay models list``, ``show``, ``compare``, ``diff`` and ``merge``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, options, places
from relay.cli.top import command, warn
from relay.errors import UserError, plain, some, typed
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.models import About, Comparison, Entry, Library, Place

models_app = typer.Typer(no_args_is_help=True, help="Browse, compare and combine models.", **options.PLAIN)
ENDING = ".safetensors"
ROWS = 60
"""Maximum number of rows of a table."""
CARD = 20_000
"""How much of a model card is printed, in characters."""
WIDEST = 200
"""Longest text in a cell, in characters."""

WHERE = "A bundle, a leg's folder in a run, a leg received or signed here, or a file that relay models made."
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
    _table(found)
    _scores(found)
    ask.say("Files, and whether their models can be trusted:")
    for number, entry in enumerate(found.entries, 1):
        ask.say(f"  {number:>3}  {entry.path}", f"       {entry.trust.level}: {entry.trust.why}")
        if entry.about is not None:
            ask.say(f"       {_descent(entry.about)}")
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
    (entry,), _ = _entries([path], home, passphrase_file)
    ask.say(f"{entry.path}", f"{entry.trust.level}: {entry.trust.why}")
    if entry.about is None:
        return
    about = entry.about
    for label, text in _lines(about):
        ask.say(f"  {label:<10} {text}")
    ask.say("Lineage, oldest first:")
    for link in about.lineage[-ROWS:]:
        ask.say(f"  {link.text}")
    if about.parents:
        ask.say("Made from:", *(f"  {text}" for text in about.parents))
    if about.card is not None:
        ask.say("Model card, based on what its sites say:")
        ask.say(*(f"  {line}" for line in ask.printable(about.card[:CARD]).splitlines()))
    ask.say(f"{entry.trust.level}: {entry.trust.why}")


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
    _facts(found.facts)
    _compared_scores(found)
    _distances(found)


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
    for note in make_difference(one, other, path, place):
        warn(note)
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
    for note in make_model(entry, [expanded(each) for each in differences], scale, path, place):
        warn(note)
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


def _new(out: Path, replace: bool) -> Path:
    """The file to write.

    Raises:
        UserError: it has another ending, its folder doesn't exist, or it exists and may not be replaced.
    """
    path = expanded(out)
    if not path.name.endswith(ENDING) or path.name.startswith("."):
        better = path.with_name(f"{path.stem.lstrip('.') or 'new'}{ENDING}")
        raise UserError(f"-o {out}: the file's name must end with {ENDING}", f"For example: -o {better}")
    if path.exists() and not (replace and path.is_file()):
        raise UserError(f"{path} exists", "Choose another name, or add --replace.")
    places.folder_there(path.parent)
    return path


def _table(found: Library) -> None:
    from rich.console import Console

    from relay.screen import Column, show_table

    left = dict.fromkeys(("study", "leg", "site", "net", "task"), True)
    ranks = {"date": 1, "net": 2, "task": 3}
    heads = ("#", "study", "leg", "site", "date", "net", "task", "signature")
    columns = [Column(head, ranks.get(head, 0), left=head in left or head == "signature") for head in heads]
    rows = [[str(number), *_row(entry)] for number, entry in enumerate(found.entries, 1)]
    show_table(Console(), f"{len(found.entries)} models", columns, rows)


def _row(entry: Entry) -> list[str]:
    from relay.numbers import MISSING

    about = entry.about
    if about is None:
        return [*[MISSING] * 6, entry.trust.level]
    told = [about.study, about.leg, about.site, about.date[:10], about.net, about.task, entry.trust.level]
    return [MISSING if text is None else _cell(text) for text in told]


def _descent(about: About) -> str:
    """A model and what it comes from, by digest."""
    if about.parents:
        return f"{about.link.text}: {' + '.join(about.parents)}"
    return f"{about.link.text}, {f'trained from {about.parent.text}' if about.parent else 'trained from none'}"


def _cell(text: object) -> str:
    return plain(str(text), most=WIDEST)


def _scores(found: Library) -> None:
    """One row for each model, one column for each test set."""
    from rich.console import Console

    from relay.bundle import cards
    from relay.numbers import number
    from relay.screen import Column, fits, show_table

    there = {n: (e.about, found.scores(e.about)) for n, e in enumerate(found.entries, 1) if e.about and e.about.scores}
    sites = list(dict.fromkeys(site for _, scores in there.values() for site in scores))
    if not sites:
        return
    title = "Scores at every site, measured by the leg of the model, or by the next leg when the model arrived there"
    columns = [Column("#"), Column("score", 1, left=True), *map(Column, sites)]
    rows = [
        [str(n), about.score_name, *(number(scores.get(site)) for site in sites)]
        for n, (about, scores) in there.items()
    ]
    if len(sites) <= cards.COLUMNS and fits(Console(), columns, rows):
        show_table(Console(), title, columns, rows)
        return
    ask.say(f"{title}:")
    for n, (about, scores) in there.items():
        told = [f"{site} {number(score)}" for site, score in scores.items()]
        ask.say(f"  {n:>3}  {about.score_name}: {some(told, cards.COLUMNS)}")


def _lines(about: About) -> list[tuple[str, str]]:
    """What is said about a model, as labelled lines."""
    from relay.models import Library
    from relay.numbers import number

    scores = ", ".join(f"{site} {number(score)}" for site, score in Library([]).scores(about).items())
    by = [f"leg {about.leg}, by {about.site}"] if about.leg else []
    return [
        ("study", about.study),
        *(("leg", text) for text in by),
        ("made", about.date),
        ("net", about.net),
        ("task", f"{about.task}: {', '.join(about.head.data.classes)}"),
        ("strategy", about.strategy),
        *([("samples", str(about.samples))] if about.samples is not None else []),
        *([("scores", f"{about.score_name}: {scores}")] if scores else []),
        ("id", about.link.id),
        ("model", f"sha256 {about.link.model or 'not known'}"),
        ("parent", about.parent.id if about.parent else "none"),
    ]


def _facts(found: Sequence[tuple[str, str, str]]) -> None:
    from rich.console import Console

    from relay.screen import Column, show_table

    if not found:
        ask.say("Their cards say the same.")
        return
    rows = [[_cell(text) for text in row] for row in found[:ROWS]]
    show_table(Console(), "Where their cards differ", [Column(head, left=True) for head in ("", "A", "B")], rows)
    if len(found) > ROWS:
        ask.say(f"  and {len(found) - ROWS} more, not shown")


def _compared_scores(found: Comparison) -> None:
    from rich.console import Console

    from relay.numbers import number, signed
    from relay.screen import Column, show_table

    if not found.scores:
        return
    columns = [Column("test set", left=True), Column("A"), Column("B"), Column("B - A")]
    rows = [
        [site, number(a), number(b), signed(None if a is None or b is None else b - a)]
        for site, a, b in found.scores[:ROWS]
    ]
    show_table(Console(), found.score_name, columns, rows)


def _distances(found: Comparison) -> None:
    """The distance of the weights, layer by layer; or why they can't be compared."""
    from rich.console import Console

    from relay.numbers import MISSING
    from relay.screen import Column, show_table

    if not found.distances:
        ask.say(f"The weights are not compared: {found.why}")
        return
    columns = [Column("layer", left=True), Column("values", 1), Column("relative distance")]
    rows = [
        [_cell(one.layer), f"{one.values:,}", MISSING if one.relative is None else f"{one.relative:.3g}"]
        for one in found.distances[: ROWS + 1]
    ]
    show_table(Console(), "Norm of B - A over the norm of A, for floating-point weights", columns, rows)
    if (more := len(found.distances) - len(rows)) > 0:
        ask.say(f"  and {more} more layers, not shown")
