"""One config: every value explained and editable, checked while it is typed; its data checked and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from relay.app import configs
from relay.app.configs import Opened
from relay.app.guard import FRAMED
from relay.app.values import Part
from relay.app.web import REFUSED, desk_of, form_of, fragment, render, seen, text_of
from relay.errors import Problem, RelayError, UserError, shown


def show(request: Request) -> Response:
    """The editor of a config, or of the copy of a file, which is not saved yet."""
    desk, asked = desk_of(request), request.query_params
    name = asked.get("name", "").strip()
    copy = asked.get("copy", "")
    return _editor(request, configs.copied(desk, name, copy) if copy else configs.opened(desk, name))


def _editor(request: Request, given: Opened, error: RelayError | None = None) -> Response:
    values = {"saved": "saved" in request.query_params, "reported": bool(_pages(request, given.name))}
    return render(request, "config.html", config=given, error=error, file=configs.file_of(given.name), **values)


def check(request: Request) -> Response:
    """Check a text as if it were saved. As JSON: ``problems``; and unless it is no config at all, ``values`` (where
    each is in the text) with ``html`` (their fields), which has to be shown anew only if ``structure`` has changed."""
    form = form_of(request)
    name, text = text_of(form, "name"), configs.lines_of(str(form.get("text") or ""))
    configs.place(desk_of(request), name)
    looked = configs.look(name, text)
    answer: dict[str, Any] = {"problems": [_told(problem, line) for problem, line in looked.problems]}
    if looked.parts is not None:
        html = fragment(request, "config_values.html", parts=looked.parts)
        answer |= {"html": html, "structure": _structure(looked.parts), **_places(text, looked.parts)}
    return JSONResponse(answer)


def _told(problem: Problem, line: int | None) -> dict[str, Any]:
    """A problem as the page shows it."""
    return {
        "path": shown(problem.path),
        "line": line,
        "text": shown(str(problem)),
        "nearest": problem.nearest,
        "cure": shown(problem.cure) if problem.cure else None,
    }


def _places(text: str, parts: Any) -> dict[str, Any]:
    """Where values begin and end, and where keys are added, in the units of a browser: UTF-16."""
    wide = [place for place, letter in enumerate(text) if letter > "\uffff"]

    def unit(place: int) -> int:
        return place + sum(each < place for each in wide) if wide else place

    values = {v.path: [unit(v.start), unit(v.end), v.raw] for part in parts for v in part.values}
    return {"values": values, "ends": {part.path: [unit(part.at), part.before] for part in parts}}


def _structure(parts: Sequence[Part]) -> str:
    """A digest of all that the fields show but their values and lines."""
    bare = [
        replace(part, at=0, before="", values=[replace(v, start=0, end=0, line=0, raw="") for v in part.values])
        for part in parts
    ]
    return sha256(repr(bare).encode(errors="backslashreplace")).hexdigest()


def save(request: Request) -> Response:
    """Save the text: over the file that was opened, if nobody else has changed it, or under another name."""
    desk, form = desk_of(request), form_of(request)
    name, text = text_of(form, "name"), configs.lines_of(str(form.get("text") or ""))
    digest = text_of(form, "digest") if name == text_of(form, "opened") else ""
    given = Opened(text_of(form, "opened"), text, text_of(form, "digest"))
    try:
        configs.save(desk, Opened(name, text, digest))
        saved = configs.opened(desk, name)
    except RelayError as error:
        answer = _editor(request, given, error)
        answer.status_code = REFUSED
        return answer
    return RedirectResponse(f"/data/config?{urlencode({'name': saved.name, 'saved': ''})}", 303)


def run_check(request: Request) -> Response:
    """Read every image once, and name every problem."""
    return _run(request, "check", "Check the images of {}")


def run_report(request: Request) -> Response:
    """Write a page for each site whose images are here."""
    return _run(request, "report", "Show the images of {}")


def _run(request: Request, command: str, title: str) -> Response:
    desk, form = desk_of(request), form_of(request)
    name = configs.opened(desk, text_of(form, "name")).name
    return seen(desk.run(["data", command, configs.file_of(name)], title.format(name), light=True))


def report(request: Request) -> Response:
    """The report of a site's images, in a frame of its own."""
    name = request.query_params.get("name", "")
    pages = _pages(request, name)
    if not pages:
        raise UserError(f"there is no report of the images of {name} yet", "Open the config, and let it be written.")
    site = request.query_params.get("site", next(iter(pages)))
    _page(pages, site)
    return render(request, "data_report.html", name=name, site=site, sites=list(pages), file=configs.file_of(name))


def page(request: Request) -> Response:
    """The page of one site, as ``relay data report`` wrote it."""
    path = _page(_pages(request, request.query_params.get("name", "")), request.query_params.get("site", ""))
    return HTMLResponse(path.read_bytes(), headers={"content-security-policy": FRAMED})


def _pages(request: Request, name: str) -> dict[str, Path]:
    """The reports of a config's sites, by site."""
    desk = desk_of(request)
    configs.place(desk, name)
    folder = desk.exps / name / "data"
    return {path.stem: path for path in sorted(folder.glob("*.html")) if path.resolve().parent == folder.resolve()}


def _page(pages: dict[str, Path], site: str) -> Path:
    if site not in pages:
        raise UserError(
            f"there is no report of the images of {shown(site)}", f"There are: {', '.join(pages) or 'none'}."
        )
    return pages[site]


ROUTES = [
    Route("/data/config", show),
    Route("/data/config/check", check, methods=["POST"]),
    Route("/data/config/save", save, methods=["POST"]),
    Route("/data/check", run_check, methods=["POST"]),
    Route("/data/report", report),
    Route("/data/report/write", run_report, methods=["POST"]),
    Route("/data/report/page", page),
]
