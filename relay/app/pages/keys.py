"""The key ceremony: new keys, the request to join a study, the roster; words are compared aloud in between."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app.overview import studies_in
from relay.app.web import desk_of, form_of, passphrase_of, path_of, render, secret_of, seen, text_of, word_of
from relay.config import fault
from relay.errors import UserError, shown
from relay.exchange import StudyStore
from relay.trust import keys, long_enough


def show(request: Request) -> Response:
    """The steps, with those that are done."""
    desk = desk_of(request)
    identity = keys.identity(desk.home) if desk.has_keys else None
    studies = studies_in(desk.home)
    installed = [study for study in studies if StudyStore(desk.home, study).trusted]
    return render(request, "keys.html", identity=identity, studies=studies, installed=installed, home=desk.home)


def new(request: Request) -> Response:
    """Make this site's keys."""
    form = form_of(request)
    name, secret = word_of(form, "name"), long_enough(passphrase_of(form))
    if why := fault(name):
        raise UserError(f"the name {shown(name)} {why}", "Give a plain name, for example: north")
    if secret != secret_of(form, "again"):
        raise UserError("the two passphrases don't match", "Type the same passphrase twice.")
    words = ["keys", "new", "--name", name]
    return seen(desk_of(request).run(words, "Make this site's keys", secret, light=True))


def answer(request: Request) -> Response:
    """Answer an invitation."""
    desk, form = desk_of(request), form_of(request)
    invitation, folder = path_of(request, form, "invitation"), path_of(request, form, "folder")
    words = ["request", invitation, "-o", folder, "--fingerprint", word_of(form, "fingerprint")]
    return seen(desk.run(words, "Ask to join a study", passphrase_of(form), light=True))


def install(request: Request) -> Response:
    """Install a roster."""
    desk, form = desk_of(request), form_of(request)
    words = ["roster", "install", path_of(request, form, "roster")]
    if text_of(form, "fingerprint"):
        words += ["--fingerprint", word_of(form, "fingerprint")]
    return seen(desk.run(words, "Install a roster", light=True))


ROUTES = [
    Route("/keys", show),
    Route("/keys/new", new, methods=["POST"]),
    Route("/keys/request", answer, methods=["POST"]),
    Route("/keys/install", install, methods=["POST"]),
]
