"""Masks corrected by hand: which first, and learning from them. The editor is in :mod:`relay.app.pages.editor`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app.configs import choices
from relay.app.place import Place
from relay.app.web import desk_of, first_of, form_of, render, seen, text_of, word_of
from relay.correct import Ranked, Target, ranking_in

MOST = 500
"""How many images are listed at a time."""
LEAST = 5
"""How many corrected training images learning asks for, unless a person says otherwise."""


def show(request: Request) -> Response:
    """Choose a run and a site; then its images, those to correct first at the top."""
    desk, given = desk_of(request), request.query_params
    values: dict[str, Any] = {"configs": choices(desk), "given": given, "place": None, "least": LEAST}
    values["chosen"] = given.get("config", desk.config or "")
    if not given.get("config"):
        return render(request, "correct.html", **values)
    place = Place.of(desk, given)
    rows, by = _rows(place)
    done = [row for row in rows if row["split"] == "train" and row["versions"]]
    first = first_of(given.get("from", ""), len(rows), MOST)
    values |= {"place": place, "rows": rows[first : first + MOST], "all": len(rows), "by": by, "done": len(done)}
    values |= {"first": first, "most": MOST}
    return render(request, "correct.html", **values)


def _rows(place: Place) -> tuple[list[dict[str, Any]], str | None]:
    """Every image of a site that may be listed, with the number of its versions; and what they are ordered by."""
    target, ranking = place.target, ranking_in(place.root, place.target)
    ranked = [row for row in (ranking[0] if ranking else []) if row.image in target.images]
    known = {row.image for row in ranked}
    order = {"train": 0, "val": 1, "test": 2}
    others = [name for name in target.images if name in target.splits and name not in known]
    others.sort(key=lambda name: order[target.splits[name]])
    rows: list[Ranked | None] = [*ranked, *([None] * len(others))]
    names = [*(row.image for row in ranked), *others]
    return [_row(target, name, row) for name, row in zip(names, rows, strict=True)], ranking[1] if ranking else None


def _row(target: Target, name: str, ranked: Ranked | None) -> dict[str, Any]:
    versions = target.store.of(name)
    many = len(list(versions.glob("*.json"))) if versions.is_dir() else 0
    return {"image": name, "split": target.splits[name], "ranked": ranked, "versions": many}


def rank(request: Request) -> Response:
    """Predict the images, and order them."""
    form = form_of(request)
    place = Place.of(desk_of(request), form)
    part = text_of(form, "split") or "train"
    return seen(desk_of(request).run(["correct", "list", *place.words, "--split", part], "Find masks to correct"))


def learn(request: Request) -> Response:
    """Fine-tune the site's own model on the corrected masks."""
    form = form_of(request)
    place = Place.of(desk_of(request), form)
    words = ["correct", "learn", *place.words, "--min-samples", word_of(form, "least")]
    words += ["--score-corrected"] if text_of(form, "scored") else []
    return seen(desk_of(request).run(words, "Learn from corrections"))


ROUTES = [
    Route("/correct", show),
    Route("/correct/list", rank, methods=["POST"]),
    Route("/correct/learn", learn, methods=["POST"]),
]
