"""First legs that runs of a comparison have in common: trained by the first of them, and taken over by the others.

Without a handover, a strategy that says ``plain_start`` only fits the task's loss. The weights then depend on the data,
the seed and the config, but not on the strategy. The run that trains such a leg keeps its last state; the others resume
from it, as from their own. No step is left, so they end with the same weights, and go on in their own way.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from relay.bundle import measure
from relay.config import Devices
from relay.files import clear, write_bytes, write_text
from relay.leg.curves import EVENTS
from relay.phase import Phase
from relay.plan import Leg

STATE, ABOUT = "state.ckpt", "about.json"

log = logging.getLogger(__name__)


@dataclass
class FirstLeg:
    """A leg that starts from nothing, and where its trained state is kept for other runs.

    Attributes:
        folder: for its state; its name identifies all that determines the state.
        seconds: how long its training took, if it was taken over.
    """

    folder: Path
    seconds: float = 0.0

    def take(self, state: Path, curves: Path) -> None:
        """Copy the kept state and curves to where this run resumes from, if it has not begun itself."""
        try:
            about = json.loads((self.folder / ABOUT).read_text())
            if state.exists() or measure(self.folder / STATE).sha256 != about["sha256"]:
                return
            for path in self.folder.glob(EVENTS):
                write_bytes(curves / path.name, path.read_bytes())
            write_bytes(state, (self.folder / STATE).read_bytes())
            self.seconds = float(about["seconds"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s can't be used, so this leg is trained again: %s", self.folder, error)

    def fit(self, train: Callable[[], None], state: Path, curves: Path) -> None:
        """Train, and keep the last state for the others, if it was all trained now."""
        whole, began = not state.exists(), time.monotonic()
        train()
        if whole:
            self._keep(state, curves, time.monotonic() - began)

    def _keep(self, state: Path, curves: Path, seconds: float) -> None:
        """Put the whole folder there in one step: another run may have trained the same leg in the meantime."""
        new = self.folder.with_name(f".{self.folder.name}.{uuid4().hex}")
        try:
            for path in curves.glob(EVENTS):
                write_bytes(new / path.name, path.read_bytes())
            write_bytes(new / STATE, state.read_bytes())
            about = {"sha256": measure(new / STATE).sha256, "seconds": seconds}
            write_text(new / ABOUT, json.dumps(about) + "\n")
            old = self.folder.with_name(f"{new.name}.old")
            with suppress(FileNotFoundError):
                self.folder.rename(old)
            with suppress(OSError):  # another run was faster, by a moment: its leg is the same
                new.rename(self.folder)
            clear(old)
        finally:
            clear(new)


def first_leg(
    root: Path | None, leg: Leg, files: Mapping[str, Any], splits: Sequence[Any], devices: Devices, versions: Any
) -> FirstLeg | None:
    """The leg, if other runs may take it over: its strategy says so itself, and one process trains it.

    Args:
        root: where such legs are kept; None for nowhere.
        files: digests of the images and masks that it is trained on.
        splits: their samples.
        versions: of the software, and the precision.
    """
    if leg.train.privacy is not None:  # another run has other noise
        return None
    if root is None or devices.world_size > 1 or not vars(type(leg.strategy)).get("plain_start", False):
        return None
    config = {key: value for key, value in leg.scientific().items() if not key.startswith("strategy.")}
    content = {"config": config, "files": files, "splits": splits, "device": devices.accelerator, "versions": versions}
    return FirstLeg(root / sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32])


def plain(phases: Sequence[Phase], model: Any) -> bool:
    """Whether the first phase is nothing but a fit of the model, with no option set."""
    return phases[0] == Phase("learn", model, phases[0].loss)
