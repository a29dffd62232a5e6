"""What became of the experts: whose expert the test images were sent to, and what each site adopted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.adopt import ORDER, AdoptPaths, read
from relay.leg import LegPaths
from relay.report.gather import Run, number
from relay.report.screen import MISSING, number as shown
from relay.report.shapes import Routed, read_json
from relay.report.tables import Table


def tables(run: Run) -> Iterator[Table]:
    """The router's table after the newest leg that has one, and the choices; nothing where there are none.

    Raises:
        UserError: a file is damaged.
    """
    for leg in reversed(run.legs):
        paths = LegPaths(run.root / "checkpoints" / leg.folder)
        if paths.routing.is_file():
            again = f"Remove {paths.routing}; the page then leaves this table out."
            yield from _routing(read_json(paths.routing, Routed, again))
            break
    records = [read(AdoptPaths(folder)) for folder in sorted((run.root / "adopted").glob("*/"))]
    yield from _adopted([record for record in records if record], run.task.score_name)


def _routing(routed: Mapping[str, Mapping[str, int]]) -> Iterator[Table]:
    experts = list(dict.fromkeys(name for counts in routed.values() for name in counts))
    if experts:
        rows = [[site, *(str(counts.get(name, 0)) for name in experts)] for site, counts in routed.items()]
        note = "unlike: the image looks like those of no site. The vote then asks all experts, or the generalist."
        caption = "Test images of each site, by the expert whose site they look most like"
        yield Table(caption, ["test images of", *experts], rows, notes=[note])


def _adopted(records: list[dict[str, Any]], name: str) -> Iterator[Table]:
    kinds = [kind for kind in ORDER if any(kind in record["candidates"] for record in records)]
    if records:
        rows = [[str(r["site"]), str(r["model"]), *(_score(r["candidates"], kind) for kind in kinds)] for r in records]
        notes = [
            "expert: the site's own model; generalist: the one model for everybody; tuned: the better one of these, "
            "fine-tuned at home; vote: all experts together.",
            f"The {name} is of validation images, which decided; test images had no part in it.",
        ]
        caption = f"The model that each site adopted for its own patients, and the {name} of all candidates"
        yield Table(caption, ["site", "adopted", *kinds], rows, notes=notes)


def _score(candidates: Mapping[str, Any], kind: str) -> str:
    found = candidates.get(kind)
    value = found.get("mean") if isinstance(found, dict) else None
    return shown(number(value)) if isinstance(value, int | float) else MISSING
