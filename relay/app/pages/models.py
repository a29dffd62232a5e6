"""Models as a library: those in a folder, the card and lineage of each; compare two, and combine them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app.desk import Desk
from relay.app.web import desk_of, form_of, path_of, render, secret_of, seen, text_of, word_of
from relay.errors import UserError, shown, typed
from relay.models import Entry, Library, Place, compared, entries_of, library

ENDING = ".safetensors"


def show(request: Request) -> Response:
    """The models of ``?folder=``; without it, those of this site's runs and what it received and signed."""
    desk, asked = desk_of(request), request.query_params.get("folder", "").strip()
    folders = [desk.roots.inside(asked)] if asked else _usual(desk)
    found = library(folders, Place(desk.home)) if folders else Library([])
    rows = [_row(found, entry, [*folders, desk.cwd, desk.home]) for entry in found.entries]
    values = {"rows": rows, "skipped": found.skipped, "more": found.more, "usable": _usable}
    command = typed("relay", "models", "list", *([asked] if asked else []))
    return render(request, "models.html", folder=asked, words=command, **values)


def one(request: Request) -> Response:
    """One model: its facts, its lineage, its card."""
    path = _model(desk_of(request), request.query_params.get("path", ""))
    (entry,) = entries_of([Path(path)], Place(desk_of(request).home))
    return render(request, "model.html", entry=entry, words=typed("relay", "models", "show", path))


def closed(request: Request) -> Response:
    """List a folder, or show a model, with the passphrase that opens what is sealed for this site."""
    desk, form = desk_of(request), form_of(request)
    if text_of(form, "path"):
        words, title = ["models", "show", _model(desk, text_of(form, "path"))], "Show a model"
    else:
        words, title = ["models", "list", *_folder(request, form)], "List models"
    return seen(desk.run(words, title, secret_of(form), light=True))


def compare(request: Request) -> Response:
    """Compare the two models that were chosen; with a passphrase in the command, else right here."""
    desk, form = desk_of(request), form_of(request)
    words = ["models", "compare", *_two(desk, form)]
    if secret := secret_of(form):
        return seen(desk.run(words, "Compare two models", secret, light=True))
    place = Place(desk.home)
    one, other = entries_of(map(Path, words[2:]), place)
    values = {"a": one, "b": other, "found": compared(one, other, place)}
    return render(request, "models_compared.html", words=typed("relay", *words), **values)


def diff(request: Request) -> Response:
    """Write the difference of the two models that were chosen."""
    desk, form = desk_of(request), form_of(request)
    words = ["models", "diff", *_two(desk, form), "-o", _out(request, form)]
    return seen(desk.run(words, "Take the difference of two models", secret_of(form), light=True))


def merge(request: Request) -> Response:
    """Add a difference to the model chosen as A."""
    desk, form = desk_of(request), form_of(request)
    words = ["models", "merge", _model(desk, text_of(form, "a")), path_of(request, form, "difference")]
    words += ["--scale", _number(form, "scale"), "-o", _out(request, form)]
    return seen(desk.run(words, "Add a difference to a model", secret_of(form), light=True))


def _row(found: Library, entry: Entry, folders: Sequence[Path]) -> dict[str, Any]:
    """A model as the list shows it: its path is shown from the first of the folders that has it."""
    above = next((folder for folder in folders if entry.path.is_relative_to(folder)), None)
    name = entry.path.relative_to(above) if above else entry.path
    return {"entry": entry, "name": str(name), "scores": found.scores(entry)}


def _usual(desk: Desk) -> list[Path]:
    return [folder for folder in (desk.exps, desk.home / "studies") if folder.is_dir()]


def _folder(request: Request, form: FormData) -> list[str]:
    return [path_of(request, form, "folder")] if text_of(form, "folder") else []


def _usable(path: Path) -> bool:
    """Whether a path can be sent with a form, and comes back as it is."""
    return str(path).isprintable()


def _model(desk: Desk, text: str) -> str:
    """The path of a model: inside the folders that may be opened, or received or signed here.

    Raises:
        UserError: it is neither.
    """
    if not text:
        raise UserError("no model is chosen", "Choose a model in the list.")
    path = Path(text)
    if "\0" not in text and path.is_absolute() and Place(desk.home).own(path) is not None:
        return str(path)
    return str(desk.roots.inside(text))


def _two(desk: Desk, form: FormData) -> list[str]:
    return [_model(desk, text_of(form, name)) for name in ("a", "b")]


def _number(form: FormData, name: str) -> str:
    """A number, as the command takes it.

    Raises:
        UserError: it is none.
    """
    text = text_of(form, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{name}: {text!r} is not a number", "For example: 0.5")
    return f"{value!r}"


def _out(request: Request, form: FormData) -> str:
    """The file to write: a new one in a folder that may be opened.

    Raises:
        UserError: its name can't be used.
    """
    folder, name = path_of(request, form, "to"), word_of(form, "name")
    name = name if name.endswith(ENDING) else name + ENDING
    if Path(name).name != name or not name.isprintable():
        raise UserError(f"{shown(name)} can't be the name of a file", f"For example: half{ENDING}")
    return str(desk_of(request).roots.inside(Path(folder) / name))


ROUTES = [
    Route("/models", show),
    Route("/models/show", one),
    Route("/models/opened", closed, methods=["POST"]),
    Route("/models/compare", compare, methods=["POST"]),
    Route("/models/diff", diff, methods=["POST"]),
    Route("/models/merge", merge, methods=["POST"]),
]
