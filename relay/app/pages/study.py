"""The first page: the line of hospitals, whose turn it is, what happened, and what to do next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.app.overview import Step, events, next_step, stops, studies_in
from relay.app.pages.approve import handover_of
from relay.app.web import desk_of, render
from relay.errors import UserError
from relay.exchange import StudyStore
from relay.trust import describe, ending

FIRST = Step("This site has no keys yet. Start with making them.", "Set up this site", "/keys")
JOIN = Step("This site takes part in no study yet.", "Join a study", "/keys")
INSTALL = Step("The roster of this study is not installed here yet.", "Install the roster", "/keys")


def show(request: Request) -> Response:
    """The study of ``?study=``, or the only one."""
    desk = desk_of(request)
    known = studies_in(desk.home)
    if not desk.has_keys or not known:
        return render(request, "study_first.html", step=JOIN if desk.has_keys else FIRST)
    name = request.query_params.get("study", known[0])
    if name not in known:
        raise UserError(f"study {name} is not known here", f"Known: {', '.join(known)}.")
    store = StudyStore(desk.home, name)
    if store.trusted is None:
        return render(request, "study_first.html", step=INSTALL)
    roster, record = store.roster, store.record()
    return render(
        request,
        "study.html",
        known=known,
        name=name,
        own=store.identity.name,
        stops=stops(store, roster, record),
        step=next_step(store, roster, record, lambda leg: handover_of(desk, leg, store.identity.name)),
        events=events(store.ledger.lines()),
        facts=describe(roster),
        ending=ending(roster, store.now()),
    )


def home(_: Request) -> Response:
    """``/study`` is the first page, too."""
    return RedirectResponse("/", 303)


ROUTES = [Route("/", show), Route("/study", home)]
