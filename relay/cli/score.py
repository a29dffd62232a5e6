"""``relay score``: metrics for predictions from any tool."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from relay.cli.top import command
from relay.errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from relay.score import Score

T = TypeVar("T")
TASKS = ("segmentation", "classification", "regression")


@command
def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks, or a CSV table.")],
    truth: Annotated[Path, typer.Argument(help="Folder of true masks with the same names, or a CSV table.")],
    task: Annotated[str, typer.Option("--task", help=f"One of {', '.join(TASKS)}.")] = TASKS[0],
    classes: Annotated[
        str | None, typer.Option("--classes", help="Comma-separated names of the classes, background first.")
    ] = None,
    values: Annotated[
        str | None, typer.Option("--values", help="The value of each class in the masks, e.g. 0,255. Default: 0,1,…")
    ] = None,
    prediction_values: Annotated[
        str | None,
        typer.Option("--prediction-values", help="The same, only for the predictions. Default: --values, or 0,1,…"),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", help="Tolerance of nsd, in mm if the spacing is known, else in pixels. Default: 2."
        ),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="mm per pixel for masks whose files don't give it: 0.5 or 0.5,0.4.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="Metrics of your own beside the installed ones: module:Class, commas between."),
    ] = None,
    patients: Annotated[
        str | None, typer.Option("--patients", help="Regular expression that finds the patient in a file name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to. Default: exps/score/<PREDICTIONS>-<digits>.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Number of worker processes; 0 for none.", min=0)] = 0,
) -> None:
    """Score predictions from any tool: masks in a folder, or a CSV table of probabilities or numbers.

    Masks are PNG or other images of class indices, or NIfTI or other volumes, anywhere below the two folders. Files
    with the same name, ignoring the extension, form a pair. Truths without a prediction are listed, but not scored. A
    table of probabilities has the column sample and one column per class; its truth has sample and class. For
    regression, both have sample and value.
    """
    if task not in TASKS:
        raise UserError(f"--task {task} is not one of {', '.join(TASKS)}", f"Did you mean {nearest(task, TASKS)}?")
    if patients is not None:
        _parsed("--patients", "a regular expression", re.compile, patients)
    from rich.console import Console

    from relay.score import show

    console = Console()
    if out is not None:
        _folder(out)
    if task == "segmentation":
        stand_for = (values, prediction_values)
        done = _masks(predictions, truth, console, classes, stand_for, tolerance, spacing, metrics, patients, workers)
    else:
        _only_for_masks(
            classes=classes,
            values=values,
            prediction_values=prediction_values,
            tolerance=tolerance,
            spacing=spacing,
        )
        from relay.score import score_classes, score_numbers

        own = tuple(_list("--metrics", "names, with commas between", str, metrics) or ())
        done = (score_classes if task == "classification" else score_numbers)(predictions, truth, patients, own)
    folder = out if out is not None else _default(done.summary["study"], predictions, truth)
    done.write(folder)
    show(console, done, folder)


def _default(study: str, predictions: Path, truth: Path) -> Path:
    """A folder for these two only: folders elsewhere may have the same names."""
    both = f"{predictions.resolve()}\n{truth.resolve()}"
    return Path("exps") / "score" / f"{study}-{sha256(both.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _only_for_masks(**given: object) -> None:
    if named := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
        raise UserError(f"{', '.join(named)}: only for masks", "Leave it out, or score masks: --task segmentation.")


def _folder(out: Path) -> None:
    """Check that it can be written to, before anything is measured."""
    above = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(f"can't write to {out}: {above} is not a folder you may write to", "Name another: -o FOLDER.")
    if (out / "samples.csv").exists() and not (out / "score.json").exists():
        raise UserError(
            f"can't write to {out}: it has a samples.csv that is not from relay score", "Name another: -o FOLDER."
        )


def _masks(
    predictions: Path,
    truth: Path,
    console: Console,
    classes: str | None,
    values: tuple[str | None, str | None],
    tolerance: float | None,
    spacing: str | None,
    metrics: str | None,
    patients: str | None,
    workers: int,
) -> Score:
    from relay.metrics import TOLERANCE
    from relay.score import Asked, score_masks

    asked = Asked(
        classes=_list("--classes", "a comma-separated list of names", str, classes),
        values=_list("--values", "a comma-separated list of integers", int, values[0]),
        prediction_values=_list("--prediction-values", "a comma-separated list of integers", int, values[1]),
        tolerance=TOLERANCE if tolerance is None else tolerance,
        spacing=_list("--spacing", "a comma-separated list of numbers", float, spacing),
        patients=patients,
        workers=workers,
        metrics=tuple(_list("--metrics", "names, with commas between", str, metrics) or ()),
    )
    return score_masks(predictions, truth, asked, console)


def _list(option: str, what: str, kind: Callable[[str], T], text: str | None) -> list[T] | None:
    return text if text is None else [_parsed(option, what, kind, part.strip()) for part in text.split(",")]


def _parsed(option: str, what: str, kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except (ValueError, re.error) as error:
        raise UserError(f"{option}: '{text}' is not {what}: {error}") from error
