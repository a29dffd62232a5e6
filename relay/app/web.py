"""What every page is made with: templates, forms and errors."""

from __future__ import annotations

import hmac
from functools import cache
from typing import Any

import anyio.from_thread
import jinja2
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.app.desk import Desk
from relay.app.guard import HEADERS, csrf_of
from relay.app.jobs import Job
from relay.app.values import added
from relay.config import fault, locate
from relay.errors import RelayError, UserError, plain, shown
from relay.files import disk_full

TOKEN = "form_token"
REFUSED = 422
MOST_FILES = 5000
"""How many files a form may have; a DICOM series has one for each slice."""
MOST_TEXT = 16 * 2**20
"""How many bytes a field of a form may have."""
PAGES = (
    ("/", "Study"),
    ("/data", "Data"),
    ("/leg", "Leg"),
    ("/results", "Results"),
    ("/correct", "Correct"),
    ("/approve", "Approve"),
    ("/models", "Models"),
    ("/jobs", "Jobs"),
    ("/keys", "Keys"),
)
"""The pages in the navigation, in order."""


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("relay.app"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    filters: dict[str, Any] = {"shown": shown, "shown_long": lambda text: plain(text, keep="\n")}
    made.filters |= {**filters, "added": added, "coded": coded}
    made.globals["pages"] = PAGES
    return made


def coded(text: str) -> Markup:
    """A text with words between backticks as code; all of it is escaped."""
    parts = (
        Markup("<code>{}</code>" if place % 2 else "{}").format(part) for place, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def desk_of(request: Request) -> Desk:
    """The desk of the page that is asked."""
    desk: Desk = request.app.state.desk
    return desk


def render(request: Request, template: str, /, **values: Any) -> Response:
    """A page from a template; every value is escaped."""
    return HTMLResponse(fragment(request, template, **values))


def fragment(request: Request, template: str, /, **values: Any) -> str:
    """The text of :func:`render`, for a part of a page."""
    token = csrf_of(request.scope["relay_session"])
    field = Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN, token)
    page = _templates().get_template(template)
    common = {"csrf": lambda: field, "token": token, "here": request.url.path, "desk": desk_of(request)}
    return page.render(**common, **values)


def form_of(request: Request) -> FormData:
    """The form of a POST, checked: it must hold its session's token, as a field or in the header ``X-Relay-Token``.

    Raises:
        RelayError: it does not.
    """
    form: FormData = anyio.from_thread.run(_read, request)
    given = str(form.get(TOKEN) or request.headers.get("x-relay-token", ""))
    if not hmac.compare_digest(given.encode(), csrf_of(request.scope["relay_session"]).encode()):
        raise RelayError("this form is of another session", "Open the page again, and repeat what you did.")
    return form


async def _read(request: Request) -> FormData:
    try:
        return await request.form(max_files=MOST_FILES, max_part_size=MOST_TEXT)
    except (HTTPException, MultiPartException) as error:
        said = getattr(error, "detail", None) or str(error)
        raise UserError(
            f"this form can't be read: {said}", "Send less at once: fewer files, or a shorter text."
        ) from error


def text_of(form: FormData, name: str) -> str:
    """A text field of a form, without blanks around it; empty if it is missing."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def path_of(request: Request, form: FormData, name: str) -> str:
    """A path field of a form, which must be inside the folders that may be opened."""
    return str(desk_of(request).roots.inside(text_of(form, name)))


def config_of(request: Request, form: FormData, name: str = "config") -> str:
    """A config's field, as for ``-c``: a name, or a file inside the folders that may be opened.

    Raises:
        UserError: there is none; the nearest names are given.
    """
    config, desk = word_of(form, name), desk_of(request)
    if (desk.cwd / config).exists() or any(fault(part) for part in config.split("/")):  # a path, not a name
        desk.roots.inside(config, desk.cwd)
    locate(config)
    return config


def word_of(form: FormData, name: str) -> str:
    """A text field that must be filled in, and that can't pass for an option of a command."""
    text = text_of(form, name)
    if not text or text.startswith("-"):
        raise UserError(f"{name}: {text!r} can't be used", "Fill in the field. It can't start with a dash.")
    return text


def first_of(text: str, many: int, page: int) -> int:
    """Where the page of a list begins that has the item ``text``, counted from 0; of a number that it has not, the
    nearest page."""
    place = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    return max(0, min(place, many - 1)) // page * page


def secret_of(form: FormData, name: str = "passphrase") -> str | None:
    """A passphrase, unchanged: blanks may be part of it; None if the field was left empty."""
    given = form.get(name)
    return given if isinstance(given, str) and given else None


def passphrase_of(form: FormData) -> str:
    """A passphrase that is needed, unchanged.

    Raises:
        UserError: the field was left empty.
    """
    if (given := secret_of(form)) is None:
        raise UserError("no passphrase is given", "Type the passphrase of this site's keys.")
    return given


def seen(job: Job) -> Response:
    """Go to the page of a job."""
    return RedirectResponse(f"/jobs/{job.number}", 303)


def refused(request: Request, error: Exception) -> Response:
    """The page of what the system refused: a full disk, a stick that was pulled out, a name that is too long."""
    assert isinstance(error, OSError)
    where = f" ({error.filename})" if error.filename else ""
    full = disk_full(error, desk_of(request).home)
    checked = "Check the path, and that the disk or stick is there and you may use it. Then repeat what you did."
    cure = "Make room, and repeat what you did." if full else checked
    return failed(request, UserError(full or f"{error.strerror or error}{where}", cure))


def failed(request: Request, error: Exception) -> Response:
    """The page of an error: its message, and what to do."""
    assert isinstance(error, RelayError)
    if "relay_session" not in request.scope:
        return HTMLResponse("", REFUSED)
    response = render(request, "error.html", error=error)
    response.status_code = REFUSED
    return response


def broken(request: Request, error: Exception) -> Response:
    """The page of a fault of the program; the terminal of ``relay ui`` shows where it happened."""
    said = RelayError(
        f"unexpected {type(error).__name__}: {str(error)[:500] or 'no message'}",
        "This is a bug in relay, not a problem with your files. Report it with what the terminal of relay ui shows.",
    )
    response = failed(request, said)
    response.status_code = 500
    response.headers.update(HEADERS)  # it is sent from outside the guard
    return response
