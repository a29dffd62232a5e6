"""The validation images of a leg that trains now, as it draws them in its run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.errors import UserError
from relay.files import read_bytes, read_json
from relay.leg import watched_in

GONE = "this validation image is not shown any more"


@dataclass(frozen=True)
class Shown:
    """What is drawn: after which step, and a caption for each image, numbered from 1."""

    step: int
    captions: tuple[str, ...]


def shown_in(run: Path) -> Shown | None:
    """The images of a run; None if there are none, or they are being replaced."""
    try:
        told: dict[str, Any] = read_json(watched_in(run) / "about.json", "")
        return Shown(int(told["step"]), tuple(map(str, told["captions"])))
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return None


def picture_in(run: Path, number: str) -> bytes:
    """One of these images, a PNG.

    Raises:
        UserError: it is not there, or not any more.
    """
    if not (number.isascii() and number.isdigit() and len(number) < 3):
        raise UserError(GONE, "Open the page again: Leg.")
    try:
        return read_bytes(watched_in(run) / f"{int(number)}.png")
    except OSError as error:
        raise UserError(GONE, "The fit has ended. Look at the results.") from error
