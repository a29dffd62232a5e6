"""The viewer of an image: one of a run's test images, or one that was dropped; its planes come one by one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay import palette
from relay.app.pages.predicted import predicted_of
from relay.app.pages.results import name_of, run_of
from relay.app.progress import run_of as run_of_words
from relay.app.viewing import Known, Recent, Viewed, known_of, of_file, of_record, predictions_of, record_of
from relay.app.web import desk_of, render
from relay.errors import UserError

IMAGES, RUNS = Recent(), Recent()
COLOURS = {"truth": palette.css(palette.GREEN), "others": [palette.css(c) for c in (palette.ORANGE, palette.SKY)]}
CLASSES = [palette.css(colour) for colour in palette.PALETTE]


def case(request: Request) -> Response:
    """The page of a test image."""
    asked = request.query_params
    name = name_of(desk_of(request), run_of(desk_of(request), asked.get("run", "")))
    values = {"run": name, "title": asked.get("sample", ""), "site": asked.get("site", "")}
    values |= {"data": f"/results/case/data?{asked}", "back": f"/results/run?run={quote(name)}"}
    return render(request, "viewer.html", **values)


def case_data(request: Request) -> Response:
    """What the page of a test image asks for."""
    run, site, sample = (request.query_params.get(part, "") for part in ("run", "site", "sample"))
    folder = run_of(desk_of(request), run)
    known = _known(folder)
    dataset, record = record_of(known.datasets, site, sample)
    masks = predictions_of(folder, site, record)
    made = [path.stat().st_mtime_ns for path in masks.values()]
    return _data(request, (folder, site, sample, *made), lambda: of_record(dataset, record, masks, known.models))


def dropped(request: Request) -> Response:
    """The page of a dropped image."""
    one, number = predicted_of(request), request.path_params["number"]
    data = f"/results/predicted/{number}/{request.path_params['place']}/data?"
    values = {"run": "", "title": one.image.name, "site": "", "data": data, "back": f"/results/predicted/{number}"}
    return render(request, "viewer.html", **values)


def dropped_data(request: Request) -> Response:
    """What the page of a dropped image asks for."""
    one = predicted_of(request)
    return _data(request, one, lambda: of_file(one.image, one.mask, _classes(request)))


def _data(request: Request, key: Hashable, make: Callable[[], Viewed]) -> Response:
    """About an image as JSON; or, if a slice is asked for (``at``), its bytes."""
    asked = request.query_params
    viewed: Viewed = IMAGES.get(key, make)
    if "at" not in asked:
        return JSONResponse({**viewed.about, "colours": COLOURS, "palette": CLASSES})
    axis, at, channel = (_number(asked.get(part, "0")) for part in ("axis", "at", "channel"))
    return Response(viewed.plane(axis, at, channel, asked.get("mask")), media_type="application/octet-stream")


def _classes(request: Request) -> list[str]:
    """The names of the classes that a job predicts; none if its run can't be read any more, which is no reason not to
    show what it has predicted."""
    desk = desk_of(request)
    run = run_of_words(desk.jobs.job(int(request.path_params["number"])).words)
    try:
        datasets = _known(desk.cwd / run).datasets if run else {}
    except UserError:
        return []
    return next((list(dataset.options.does.names) for dataset in datasets.values()), [])


def _known(run: Path) -> Known:
    """What the config of a run says; read anew only if it has changed.

    Raises:
        UserError: the run has no config, or it can't be used any more.
    """
    given = run / "config.given.yaml"
    if not given.is_file():
        raise UserError(f"{run} has no config: its images are not known", "Choose a run that was trained here.")
    found: Known = RUNS.get((run, given.stat().st_mtime_ns), lambda: known_of(run))
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else -1


ROUTES = [
    Route("/results/case", case),
    Route("/results/case/data", case_data),
    Route("/results/predicted/{number:int}/{place:int}", dropped),
    Route("/results/predicted/{number:int}/{place:int}/data", dropped_data),
]
