"""What may be chosen: a folder's content, for the dialog of a path's field."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.app.roots import MOST
from relay.app.web import desk_of, render
from relay.errors import UserError

KINDS = ("file", "folder", "any")


def browse(request: Request) -> Response:
    """The folder of ``path``, or the first that may be opened where ``path`` can't be."""
    roots = desk_of(request).roots
    asked = request.query_params.get("kind", "")
    kind = asked if asked in KINDS else "folder"
    try:
        folder = roots.inside(request.query_params.get("path", ""))
        folder = folder if folder.is_dir() else folder.parent
        entries = roots.listing(folder)
    except UserError:
        folder = roots.folders[0]
        entries = roots.listing(folder)
    values = {"folder": folder, "above": roots.above(folder), "entries": entries, "most": MOST, "kind": kind}
    return render(request, "browse.html", roots=roots.folders, choosable=kind != "file", **values)


ROUTES = [Route("/browse", browse)]
