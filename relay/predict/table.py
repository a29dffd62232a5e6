"""The results on the screen, as one narrow table; everything else is in the files and on the page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from relay.numbers import MISSING, bounds, number
from relay.results import ADOPTED, ENSEMBLE, EXPERT, GENERALIST, VOTE, mean
from relay.screen import Column, show_place, show_table, show_text
from relay.tasks import Task, named

Row = Mapping[str, Any]


def show(console: Console, found: Mapping[str, Any], folder: Path, root: Path, own: bool = False) -> None:
    """Show the score of the models at the end on each test set with its interval, then where the files are.

    Args:
        found: the content of ``evaluation.json``.
        folder: where it was written.
        root: the run's folder.
        own: whether each site has its own model, which is then shown at its own site.
    """
    task = named(found.get("task"))
    ends = at_the_end(found["score"], own)
    several = len({row["model"] for row in ends}) > 1
    rows = [
        [
            row["site"],
            *([row["model"]] if several else []),
            number(row["mean"]),
            bounds(row["low"], row["high"]),
            str(row["samples"]),
        ]
        for row in ends
    ]
    kind = [Column("model", left=True)] if several else []
    columns = [Column("test set", left=True), *kind, Column(task.score_name), Column("95 % interval", 1)]
    show_table(console, f"{found['study']}: {_model(ends, own)}", [*columns, Column("images", 2)], rows)
    for model in dict.fromkeys(row["model"] for row in ends):
        head = f"{model}: " if several else ""
        show_text(console, head + sentence([row for row in ends if row["model"] == model], task))
    lost = sum(row["samples"] - row["measured"] for row in found["rows"] if row["class"] in found["classes"][1:])
    lost = lost if task.dense else 0  # an image without a mask is of one class
    if lost:
        show_text(console, f"{lost} values could not be measured; they are left out, not zero.")
    for name, what in WRITTEN.items():
        if (folder / name).exists():
            show_place(console, what, folder / name)
    if folder.name == "results":  # the page is about these alone
        show_place(console, "Next, the page with these numbers", shlex.join(["relay", "report", str(root)]))


def at_the_end(rows: Sequence[Row], own: bool) -> list[Row]:
    """On every test set, the rows of the last leg's model, of the vote, and of those of single sites; or of each site's
    own model at home. One test set after the other."""
    if own:
        return [row for row in rows if row["trained"] == row["site"]]
    last = max((row["leg"] for row in rows if row["model"] == GENERALIST), default=0)
    ends = [row for row in rows if row["model"] != GENERALIST or row["leg"] == last]
    sites = list(dict.fromkeys(row["site"] for row in ends))
    return sorted(ends, key=lambda row: sites.index(row["site"]))


def sentence(ends: Sequence[Row], task: type[Task]) -> str:
    """The mean result, and the worst site."""
    name = task.score_name
    there = {row["site"]: row["mean"] for row in ends if not math.isnan(row["mean"])}
    if not there:
        return f"No {name} could be measured."
    if len(there) == 1:
        return f"{name[0].upper()}{name[1:]} at {next(iter(there))}: {number(next(iter(there.values())))}."
    low = task.worst(there, lambda site: there[site])
    average = f"{name[0].upper()}{name[1:]} over {len(there)} test sets: {number(mean(there.values()))}"
    return f"{average}; {task.worst_word()} at {low} ({number(there[low])})."


MODELS = {
    GENERALIST: "the model",
    VOTE: "the vote of all experts",
    EXPERT: "the expert",
    ADOPTED: "the adopted model",
    ENSEMBLE: "the mean of several legs' models",
}


def _model(ends: Sequence[Row], own: bool) -> str:
    if own or not ends:
        return "each site's own model at home"
    kinds = list(dict.fromkeys(row["model"] for row in ends))
    made = {(row["leg"], row["trained"]) for row in ends}
    if len(kinds) > 1:
        return "the models at the end"
    if kinds == [ENSEMBLE]:
        return MODELS[ENSEMBLE]
    if len(made) > 1 or kinds[0] in (EXPERT, ADOPTED):
        return f"{MODELS[kinds[0]]} of each site at home"
    return f"{MODELS[kinds[0]]} of leg {ends[0]['leg']}, trained at {ends[0]['trained'] or MISSING}"


WRITTEN = {
    "samples.csv": "Every metric of each sample, class and patient",
    "evaluation.json": "Means, intervals, calibration",
    "predictions": "Masks, in the images' own geometry",
    "overlays": "Overlays of prediction and truth",
}
