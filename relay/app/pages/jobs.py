"""The jobs: what was run from the page, how each stands, what it prints; stop it, run it again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from relay.app.following import following
from relay.app.guard import LOCKED
from relay.app.jobs import DONE, OVER, Job
from relay.app.progress import progress_of
from relay.app.web import desk_of, form_of, render, secret_of, seen, text_of


def _job(request: Request) -> Job:
    return desk_of(request).jobs.job(int(request.path_params["number"]))


def listed(request: Request) -> Response:
    """All jobs, newest first."""
    return render(request, "jobs.html", jobs=desk_of(request).jobs.all())


def rows(request: Request) -> Response:
    """The table of all jobs, which changes by itself."""
    return render(request, "jobs_rows.html", jobs=desk_of(request).jobs.all())


def show(request: Request) -> Response:
    """One job."""
    return _shown(request, "job.html")


def part(request: Request) -> Response:
    """What changes of one job."""
    return _shown(request, "job_part.html")


def _shown(request: Request, template: str) -> Response:
    job = _job(request)
    state = job.state
    progress = None if state in OVER else progress_of(job)
    then = following(job) if state == DONE else None
    return render(request, template, job=job, state=state, over=state in OVER, progress=progress, then=then)


def stop(request: Request) -> Response:
    """Ask a job to stop; the second time, end it at once."""
    kill = bool(text_of(form_of(request), "kill"))
    desk_of(request).jobs.stop(_job(request), kill)
    return seen(_job(request))


def again(request: Request) -> Response:
    """Run a job's command again, where it ran, as a new job: it resumes what was stopped."""
    desk, form, job = desk_of(request), form_of(request), _job(request)
    cwd = desk.roots.inside(job.cwd)
    return seen(desk.jobs.start(job.words, job.title, cwd, secret_of(form), job.light))


def link(request: Request) -> Response:
    """A link that opens the page in another browser of this computer."""
    form_of(request)
    return render(request, "link.html", link=f"{request.base_url}enter?token={request.app.state.door.link()}")


def lock(request: Request) -> Response:
    """Lock the page now."""
    form_of(request)
    request.app.state.door.lock(request.scope["relay_session"])
    return PlainTextResponse(LOCKED)


ROUTES = [
    Route("/jobs", listed),
    Route("/jobs/rows", rows),
    Route("/jobs/{number:int}", show),
    Route("/jobs/{number:int}/part", part),
    Route("/jobs/{number:int}/stop", stop, methods=["POST"]),
    Route("/jobs/{number:int}/again", again, methods=["POST"]),
    Route("/link", link, methods=["POST"]),
    Route("/lock", lock, methods=["POST"]),
]
