"""The images to correct, in order, as ``relay correct list`` has written them; it is read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relay.correct.target import Target
from relay.data import Record
from relay.errors import DataError
from relay.files import damaged, inside, read_json


@dataclass(frozen=True)
class Ranked:
    """An image that may be corrected.

    Attributes:
        image: Its id.
        split: train, val or test.
        entropy, disagreement: See :mod:`relay.correct.ranking`; disagreement is None without at least two experts.
        mask: The predicted mask's file, in the folder of the ranking.
    """

    image: str
    split: str
    entropy: float
    disagreement: float | None
    mask: str


def folder_of(root: Path, target: Target) -> Path:
    """The folder of a site's ranking in a run."""
    return root / "results" / "correct" / target.leg.task_name


def ranking_in(root: Path, target: Target) -> tuple[list[Ranked], str, str] | None:
    """What :func:`relay.correct.rank` wrote: the images, what they are ordered by, and the model's digest; None if
    nothing.

    Raises:
        UserError: it is damaged.
    """
    path = folder_of(root, target) / "ranking.json"
    again = f"Remove {path} and run relay correct list again."
    try:
        said = read_json(path, again)
        rows = [Ranked(**row) for row in said["images"]]
        if not all(isinstance(row.image, str) and isinstance(row.mask, str) for row in rows):
            raise TypeError("an image has no name")
        return rows, str(said["by"]), str(said["model"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError) as error:
        raise damaged(path, error, again) from error


def predicted(root: Path, target: Target, sample: Record) -> tuple[Path, str]:
    """The mask that :func:`relay.correct.rank` predicted for an image, a file of class indices; and the model's digest.

    Raises:
        UserError: it is damaged.
        DataError: there is none.
    """
    rows, _, model = ranking_in(root, target) or ([], "", "")
    for row in rows:
        path = folder_of(root, target) / inside(row.mask)
        if row.image == sample.id and path.is_file():
            return path, model
    raise DataError(f"no prediction of {sample.id} is in {root}", "Predict it first: relay correct list --split all.")
