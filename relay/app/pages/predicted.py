"""New images: dropped on a run's page, predicted by its models in a queued job, then shown and downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.app.jobs import OVER, Job
from relay.app.pages.results import predict_words
from relay.app.progress import progress_of
from relay.app.uploads import Predicted, answers_of, check_size, given_in, in_its_format, keep, predicted, remove
from relay.app.web import desk_of, form_of, render, text_of
from relay.errors import UserError


def drop(request: Request) -> Response:
    """Keep the dropped files, and queue their prediction."""
    check_size(request)
    desk, form = desk_of(request), form_of(request)
    words = predict_words(desk, text_of(form, "run"))
    if which := text_of(form, "which"):
        words.append(f"--model={which}")
    folders = keep(desk.home / "page" / "uploads", _files(form))
    job = desk.run([*words, *(word for folder in folders for word in ("--image", str(folder)))], "Predict new images")
    return RedirectResponse(f"/results/predicted/{job.number}", 303)


def show(request: Request) -> Response:
    """The images of a job: which are predicted, to look at and to download."""
    return _shown(request, "predicted.html")


def part(request: Request) -> Response:
    """What changes of them."""
    return _shown(request, "predicted_part.html")


def download(request: Request) -> Response:
    """A mask in its image's format."""
    name, data = in_its_format(predicted_of(request))
    return _attached(name, data)


def answers(request: Request) -> Response:
    """The table of answers, for a task without masks."""
    path = answers_of(_job(request))
    if path is None:
        raise UserError("this job has written no table", "Look at what it says: Jobs.")
    return _attached("answers.csv", path.read_bytes())


def delete(request: Request) -> Response:
    """Remove the dropped images, and what was predicted for them."""
    form_of(request)
    remove(_job(request))
    return RedirectResponse(f"/results/predicted/{_job(request).number}", 303)


def predicted_of(request: Request) -> Predicted:
    """The image that an address means: a job's number, and its place in it.

    Raises:
        UserError: there is none.
    """
    found, place = predicted(_job(request)), int(request.path_params["place"])
    if place >= len(found):
        raise UserError("this image is not predicted", "Go back to the job, and choose one of its images.")
    return found[place]


def _shown(request: Request, template: str) -> Response:
    job = _job(request)
    there = any(folder.is_dir() for folder in given_in(job))
    state = job.state
    images = [one.image.name for one in predicted(job)]
    progress = None if state in OVER else progress_of(job)
    values = {"images": images, "over": state in OVER, "progress": progress}
    values |= {"there": there, "answers": there and answers_of(job) is not None}
    return render(request, template, job=job, state=state, **values)


def _job(request: Request) -> Job:
    return desk_of(request).jobs.job(int(request.path_params["number"]))


def _files(form: FormData) -> Iterator[tuple[str, BinaryIO]]:
    for item in form.getlist("files"):
        if isinstance(item, UploadFile) and item.filename:
            yield item.filename, item.file


def _attached(name: str, data: bytes) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


ROUTES = [
    Route("/results/predict", drop, methods=["POST"]),
    Route("/results/predicted/{number:int}", show),
    Route("/results/predicted/{number:int}/part", part),
    Route("/results/predicted/{number:int}/answers", answers),
    Route("/results/predicted/{number:int}/delete", delete, methods=["POST"]),
    Route("/results/predicted/{number:int}/{place:int}/mask", download),
]
