"""The best, the median and the worst image of each site, from the overlays that ``predict_test.py -s`` saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relay.errors import UserError
from relay.files import inside
from relay.report.gather import Run
from relay.report.tiles import ShownCase, address

SIZE = 1152, 512
"""Maximum width and height in pixels: an overlay has three panels side by side."""


def read_cases(run: Run) -> dict[str, list[ShownCase]]:
    """Site → its cases, from the model that represents the site at the end.

    Raises:
        UserError: the overlays are missing, or are from other models.
    """
    if not run.task.dense:
        raise UserError(
            f"{run.task.name} has no overlays to show, and no heat maps are here",
            "Run relay explain first, or leave out --cases.",
        )
    if run.stale:
        raise UserError(f"{run.root}: the overlays are not from these models. {run.stale}", "Run predict_test.py -s.")
    found: dict[str, list[ShownCase]] = {}
    for site in dict.fromkeys(site for _, site in run.scores.found):
        leg = run.ends(site)
        if leg is not None and (values := run.scores.means(leg, site)):
            folder = run.root / "results" / "overlays" / _folder(run, leg) / site
            found[site] = [
                ShownCase(which, values[s], _image(_picture(folder / inside(s)))) for which, s in choose(values).items()
            ]
    if not found:
        raise UserError(f"{run.root} has no scores of single images", "Run predict_test.py -s first.")
    return found


def choose(values: Mapping[str, float]) -> dict[str, str]:
    """``best``, ``median`` and ``worst`` → sample; no sample appears twice. Of equal ones, take the first by name."""
    order = sorted(values, key=lambda sample: (-values[sample], sample))
    best, median, worst = order[0], order[len(order) // 2], order[-1]
    chosen = {"best": best} | ({"median": median} if median not in (best, worst) else {})
    return chosen | ({"worst": worst} if worst != best else {})


def _folder(run: Run, leg: int) -> str:
    """Where the overlays of a leg's model are."""
    rows = [str(row["checkpoint"]) for row in run.evaluation.get("rows", []) if row.get("leg") == leg]
    return rows[0] if rows else next((known.folder for known in run.legs if known.number == leg), f"task_{leg}")


def _picture(place: Path) -> Path:
    return place.with_name(f"{place.name}.png")


def _image(path: Path) -> str:
    """An image's pixels without metadata, scaled down, as a ``data:`` address."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return address(opened, SIZE)
    except OSError as error:
        raise UserError(
            f"the overlay {path} can't be read: {error.strerror or error}",
            "Run predict_test.py -s first: it saves the overlays. Or leave out --cases.",
        ) from error
