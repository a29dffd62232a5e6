"""Approve what leaves: the closed list with sizes and plain words, who approves it and why; only then it is sent."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app.desk import Desk
from relay.app.overview import studies_in
from relay.app.runs import runs_in
from relay.app.web import desk_of, form_of, path_of, render, secret_of, seen, text_of, word_of
from relay.bundle import read_facts
from relay.errors import UserError, typed
from relay.exchange import StudyStore, approving, drafting

HANDOVERS = "checkpoints/*/handover/facts.json"
"""What shows that a run has a handover that can be sent."""


def show(request: Request) -> Response:
    """The handovers that can be sent; of the one that is chosen, everything that would leave."""
    desk, asked = desk_of(request), request.query_params
    studies = studies_in(desk.home)
    values: dict[str, Any] = {"studies": studies, "handovers": handovers_of(desk), "list": None}
    values |= {"study": asked.get("study") or next(iter(studies), ""), "chosen": asked.get("handover", "")}
    if "handover" in asked:
        words = ["send", *_handover(desk, values["chosen"]), "-s", values["study"], "--preview"]
        values |= {"list": _listed(desk, values["study"], values["chosen"]), "command": typed("relay", *words)}
    return render(request, "approve.html", **values)


def send(request: Request) -> Response:
    """Send what was approved, and nothing else."""
    desk, form = desk_of(request), form_of(request)
    if not text_of(form, "read"):
        raise UserError("it is not said that the list was read", "Read it, tick the box, and send.")
    who = approving.approver(text_of(form, "name"), text_of(form, "reason"))
    words = ["send", *_handover(desk, text_of(form, "handover")), "-o", path_of(request, form, "folder")]
    words += ["-s", word_of(form, "study"), "--yes", "--approved-list", word_of(form, "list")]
    words += [f"--approved-by={who.name}", f"--reason={who.reason}"]
    return seen(desk.run(words, "Send what was approved", secret_of(form), light=True))


def handovers_of(desk: Desk) -> list[str]:
    """The handovers of finished legs under ``exps/``, the newest first, as paths from where commands run."""
    found = [path for run in runs_in(desk.exps) for path in run.glob(HANDOVERS)]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.relative_to(desk.cwd).as_posix() for path in found]


def handover_of(desk: Desk, leg: int, site: str) -> str | None:
    """The newest handover of a site's leg under ``exps/``, skipping damaged ones; None if there is none."""
    for item in handovers_of(desk):
        with suppress(UserError):
            facts = read_facts(desk.cwd / item)
            if (facts.leg, facts.site) == (leg, site):
                return item
    return None


def _listed(desk: Desk, study: str, chosen: str) -> dict[str, Any]:
    if study not in studies_in(desk.home):
        raise UserError("this site takes part in no such study", "Join a study first: Keys.")
    store, folder = StudyStore(desk.home, study), _handover(desk, chosen)
    with store.alone(), drafting.drafted(store, desk.cwd / folder[0] if folder else None) as drafted:
        return approving.preview(store, drafted)


def _handover(desk: Desk, chosen: str) -> list[str]:
    """The handover as a command's argument; none for what was signed last.

    Raises:
        UserError: it is not one under ``exps/``.
    """
    if not chosen:
        return []
    path = desk.roots.inside(chosen, desk.cwd)
    if not path.is_relative_to(desk.exps.resolve()) or not Path(path, "facts.json").is_file():
        raise UserError(f"{chosen} is not the handover of a finished leg under {desk.exps}", "Choose one in the list.")
    return [path.relative_to(desk.cwd.resolve()).as_posix()]


ROUTES = [Route("/approve", show), Route("/approve/send", send, methods=["POST"])]
