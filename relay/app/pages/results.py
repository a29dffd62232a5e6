"""Results: the runs, each with its report, its models side by side, and its worst images first."""

from __future__ import annotations

import math
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from relay.app.desk import Desk
from relay.app.guard import FRAMED
from relay.app.runs import best_of, last_generalist, report_of, runs_in, scored, sites_of
from relay.app.uploads import MOST_BYTES
from relay.app.web import desk_of, form_of, render, seen, text_of
from relay.config import locate
from relay.errors import UserError
from relay.numbers import number


def listed(request: Request) -> Response:
    """The runs, the newest first."""
    desk = desk_of(request)
    runs = [(name_of(desk, run), report_of(run) is not None) for run in runs_in(desk.exps)]
    return render(request, "results.html", runs=runs)


def show(request: Request) -> Response:
    """A run: its report, the scores of its models, and the worst images of one of them."""
    desk = desk_of(request)
    run = run_of(desk, request.query_params.get("run", ""))
    models = scored(run)
    chosen = request.query_params.get("model") or last_generalist(models)
    model = next((model for model in models if model.label == chosen), None)
    if models and model is None:
        raise UserError(f"{run} has no scores of the model {chosen}", "Choose one in the list.")
    sites = sites_of(models)
    best = {site: best_of(models, site) for site in sites}
    table = [(m, [(_cell(m.sites.get(s)), m.sites.get(s) == best[s]) for s in sites]) for m in models]
    return render(
        request,
        "result.html",
        run=name_of(desk, run),
        report=report_of(run),
        sites=sites,
        table=table,
        model=model,
        worst=model.worst() if model else [],
        number=number,
        config=config_of(run, desk),
        most=MOST_BYTES,
        has_model=any(run.glob("checkpoints/*/last.ckpt")),
    )


def report(request: Request) -> Response:
    """The report of a run, as it is, under a policy of its own."""
    desk = desk_of(request)
    page = report_of(run_of(desk, request.query_params.get("run", "")))
    if page is None:
        raise UserError("this run has no report yet", "Write it: relay report, with the run's folder.")
    data = desk.roots.inside(page).read_bytes()  # it may be a link
    return HTMLResponse(data, headers={"content-security-policy": FRAMED})


def write_report(request: Request) -> Response:
    """Write the report of a run again."""
    desk, form = desk_of(request), form_of(request)
    run = name_of(desk, run_of(desk, text_of(form, "run")))
    return seen(desk.run(["report", run], "Write the report", light=True))


def save(request: Request) -> Response:
    """Test every model of a run with every metric, and save masks and overlays."""
    desk, form = desk_of(request), form_of(request)
    return seen(desk.run([*predict_words(desk, text_of(form, "run")), "-s"], "Test the models and save their masks"))


def name_of(desk: Desk, run: Path) -> str:
    """A run as in a command: ``exps/<config>/<note>``."""
    return run.relative_to(desk.cwd.resolve()).as_posix()


def run_of(desk: Desk, text: str) -> Path:
    """A run's folder.

    Raises:
        UserError: it is not one under ``exps/``.
    """
    run = desk.roots.inside(text, desk.cwd)
    if desk.exps.resolve() not in run.parents or not run.is_dir():
        raise UserError(f"{text} is not a run under {desk.exps}", "Choose one in the list: Results.")
    return run


def config_of(run: Path, desk: Desk) -> str:
    """The config's name, as for ``-c``: the run's folder is named by it."""
    return run.parent.relative_to(desk.exps.resolve()).as_posix()


def predict_words(desk: Desk, text: str) -> list[str]:
    """``predict -c CONFIG -n NOTE`` of a run.

    Raises:
        UserError: its config is not here any more.
    """
    run = run_of(desk, text)
    name = config_of(run, desk)
    locate(name)  # a config that is gone is said here, before a job is queued
    return ["predict", "-c", name, "-n", run.name]


def _cell(value: float | None) -> str:
    return number(math.nan if value is None else value)


ROUTES = [
    Route("/results", listed),
    Route("/results/run", show),
    Route("/results/report", report),
    Route("/results/report/write", write_report, methods=["POST"]),
    Route("/results/save", save, methods=["POST"]),
]
