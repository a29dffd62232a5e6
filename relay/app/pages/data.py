"""Data: from a folder, a table or DICOM to a config; a table, and its split by patient. Each is its command."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app import configs
from relay.app.sources import PAGE, see
from relay.app.web import desk_of, first_of, form_of, path_of, render, seen, text_of, word_of
from relay.config import fault
from relay.errors import RelayError, UserError

TASKS = ("segmentation", "classification", "multilabel", "regression")
TABLES = (".csv", ".tsv")
OPTIONS = {
    "site": "--site",
    "task": "--task",
    "classes": "--classes",
    "patients": "--patients",
    "target": "--target",
    "image_dir": "--image-dir",
    "patient": "--patient",
    "series": "--series",
}
"""Fields of the form for a config, and the options of ``relay init`` that they are."""
COMMA = "relay init takes several as a list with commas. Rename the column in the table."


def show(request: Request) -> Response:
    """The configs, and where to begin."""
    known, wrong = configs.names(desk_of(request))
    return render(request, "data.html", known=known, wrong=wrong)


def look(request: Request) -> Response:
    """What a chosen source holds, a page at a time, and the form for its config."""
    desk, asked = desk_of(request), request.query_params
    source = desk.roots.inside(asked.get("source", ""))
    patients = asked.get("patients", "").strip()
    found, error = None, None
    try:
        found = see(source, patients or None)
    except RelayError as wrong:
        error = wrong
    first = first_of(asked.get("from", ""), len(found.rows) if found else 0, PAGE)
    known, _ = configs.names(desk)
    values = {"source": source, "patients": patients, "first": first, "page": PAGE, "tasks": TASKS, "known": known}
    return render(request, "data_new.html", found=found, error=error, **values)


def init(request: Request) -> Response:
    """Write a config."""
    desk, form = desk_of(request), form_of(request)
    name = text_of(form, "name")
    replace = bool(text_of(form, "replace"))
    if configs.place(desk, name).exists() and not replace:
        raise UserError(f"{configs.file_of(name)} exists", "Give another name, or tick: Overwrite it.")
    words = ["init", path_of(request, form, "source"), "-o", configs.file_of(name)]
    if like := text_of(form, "like"):
        words.append(f"--like={_config_given(request, like)}")
    words += [f"{option}={_line(form, field)}" for field, option in OPTIONS.items() if _line(form, field)]
    if columns := [str(column) for column in form.getlist("images")]:
        words.append(f"--images={_listed(columns)}")
    return seen(desk.run([*words, *(["--replace"] if replace else [])], f"Write the config {name}", light=True))


def table(request: Request) -> Response:
    """Write a table of the images in a folder."""
    desk, form = desk_of(request), form_of(request)
    source = path_of(request, form, "source")
    words = ["data", "table", source, "-o", _beside(request, Path(source), word_of(form, "out"))]
    words += [f"--patients={_line(form, 'patients')}"] if _line(form, "patients") else []
    return seen(desk.run(words, "Write a table of the images", light=True))


def split(request: Request) -> Response:
    """Deal the patients of a table into train, val and test."""
    desk, form = desk_of(request), form_of(request)
    source = path_of(request, form, "source")
    words = ["data", "split", source, "-o", _beside(request, Path(source).parent, word_of(form, "out"))]
    words += [f"--shares={word_of(form, 'shares')}", f"--seed={word_of(form, 'seed')}"]
    words += [f"--patient={_line(form, 'patient')}"] if _line(form, "patient") else []
    words += [f"--class={_line(form, 'class')}"] if _line(form, "class") else []
    return seen(desk.run(words, "Split a table by patient", light=True))


def _config_given(request: Request, like: str) -> str:
    """A study's config: the file of one under ``configs/``, or a file inside the folders that may be opened."""
    desk = desk_of(request)
    if like in configs.names(desk)[0]:
        return configs.file_of(like)
    path = desk.roots.inside(like)
    if not path.is_file():
        raise UserError(f"there is no config {like}", "Choose one from the list, or the file of one.")
    return str(path)


def _line(form: FormData, name: str) -> str:
    """A field that is one line of text, or empty.

    Raises:
        UserError: it has characters that no command line should.
    """
    text = text_of(form, name)
    if not text.isprintable():
        raise UserError(f"{name}: {text!r} has characters that can't be printed", "Type it anew.")
    return text


def _listed(columns: list[str]) -> str:
    for column in columns:
        if "," in column or column != column.strip() or not column.isprintable():
            raise UserError(f"the column {column!r} can't be given to a command", COMMA)
    return ",".join(columns)


def _beside(request: Request, folder: Path, name: str) -> str:
    """A table's new file in a folder."""
    if why := fault(name):
        raise UserError(f"{name!r} can't name a file: it {why}", "For example: table.csv")
    if not name.endswith(TABLES):
        raise UserError(f"{name}: a table ends in {' or '.join(TABLES)}", "For example: table.csv")
    path = desk_of(request).roots.inside(folder / name)
    if path.exists():
        raise UserError(f"{path} exists", "Give another name.")
    return str(path)


ROUTES = [
    Route("/data", show),
    Route("/data/new", look),
    Route("/data/init", init, methods=["POST"]),
    Route("/data/table", table, methods=["POST"]),
    Route("/data/split", split, methods=["POST"]),
]
