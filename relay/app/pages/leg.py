"""This site's leg: verify and receive what arrived, train, and choose a model; each is its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.app.configs import choices
from relay.app.curves import curves_of
from relay.app.desk import Desk
from relay.app.overview import studies_in
from relay.app.progress import progress_in
from relay.app.runs import runs_in
from relay.app.watching import picture_in, shown_in
from relay.app.web import config_of, desk_of, form_of, path_of, render, secret_of, seen, text_of, word_of
from relay.errors import UserError


def show(request: Request) -> Response:
    """The forms of a leg, and how the runs stand that work now, whoever started them."""
    desk = desk_of(request)
    return render(
        request,
        "leg.html",
        configs=choices(desk),
        chosen=request.query_params.get("config", desk.config or ""),
        running=_running(desk),
        studies=studies_in(desk.home),
    )


def part(request: Request) -> Response:
    """What changes: the runs that work now."""
    return render(request, "leg_part.html", running=_running(desk_of(request)))


def verify(request: Request) -> Response:
    """Check a bundle against every rule."""
    form = form_of(request)
    words = ["verify", path_of(request, form, "bundle"), *_study(request, form)]
    return seen(desk_of(request).run(words, "Verify a bundle", secret_of(form), light=True))


def receive(request: Request) -> Response:
    """Verify the previous leg's bundle, and take it in."""
    form = form_of(request)
    words = ["receive", *_given(request, form), *_placed(request, form, "stick"), *_study(request, form)]
    return seen(desk_of(request).run(words, "Receive the previous leg", secret_of(form)))


def train(request: Request) -> Response:
    """Train the leg; an interrupted one resumes."""
    form = form_of(request)
    words = ["train", *_given(request, form), *_noted(form), *_gpus(form), *overrides_of(form)]
    return seen(desk_of(request).run(words, "Train the leg", secret_of(form)))


def adopt(request: Request) -> Response:
    """Choose the model for this site's own patients."""
    form = form_of(request)
    words = ["adopt", *_given(request, form), *_noted(form), *_gpus(form)]
    return seen(desk_of(request).run(words, "Choose the model for own patients", secret_of(form)))


def curves(request: Request) -> Response:
    """Loss and validation score of a run under ``exps/``, leg by leg, as JSON."""
    return JSONResponse(curves_of(_run_of(request)))


def validation(request: Request) -> Response:
    """A validation image of a run that trains now, with what is predicted."""
    run, number = _run_of(request), request.query_params.get("image", "")
    data = picture_in(run, number)
    return Response(data, media_type="image/png")


def _run_of(request: Request) -> Path:
    desk = desk_of(request)
    run = desk.roots.inside(request.query_params.get("run", ""), desk.cwd)
    if not run.is_relative_to(desk.exps.resolve()):
        raise UserError(f"{run} is not a run under {desk.exps}")
    return run


def overrides_of(form: FormData) -> list[str]:
    """The overrides of a form, one in a line.

    Raises:
        UserError: one is not of the form key=value.
    """
    lines = [line.strip() for line in text_of(form, "overrides").splitlines()]
    for line in filter(None, lines):
        if "=" not in line or line.startswith("-"):
            raise UserError(f"{line!r} is not of the form key=value", "For example: common.train.batch_size=8")
    return [line for line in lines if line]


def _given(request: Request, form: FormData) -> list[str]:
    return ["-c", config_of(request, form)]


def _study(request: Request, form: FormData) -> list[str]:
    """The study, as far as a home has several."""
    study = text_of(form, "study")
    if study and study not in studies_in(desk_of(request).home):
        raise UserError(f"this site takes part in no study {study}", "Join it first: Keys.")
    return ["-s", study] if study else []


def _noted(form: FormData) -> list[str]:
    return ["-n", word_of(form, "note")] if text_of(form, "note") else []


def _gpus(form: FormData) -> list[str]:
    return ["-g", word_of(form, "gpus")] if text_of(form, "gpus") else []


def _placed(request: Request, form: FormData, name: str) -> list[str]:
    return [path_of(request, form, name)] if text_of(form, name) else []


def _running(desk: Desk) -> list[dict[str, Any]]:
    """Each run in which a command works now: its folder under ``exps/``, its progress and validation images."""
    working = [(run, told) for run in runs_in(desk.exps) if (told := progress_in(run))]
    return [{"run": run.relative_to(desk.cwd).as_posix(), "shown": shown_in(run), **told} for run, told in working]


ROUTES = [
    Route("/leg", show),
    Route("/leg/part", part),
    Route("/leg/curves", curves),
    Route("/leg/validation", validation),
    Route("/leg/verify", verify, methods=["POST"]),
    Route("/leg/receive", receive, methods=["POST"]),
    Route("/leg/train", train, methods=["POST"]),
    Route("/leg/adopt", adopt, methods=["POST"]),
]
