"""Where a leg's time goes: its stages, and the parts of its training steps, a few of each hundred being measured.

On a GPU, the marks are events in its own queue: nothing waits for it until the fit is over.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch

from relay.parts import listen

EVERY, FIRST = 25, 3
"""Of so many steps one is measured; the first steps of a fit, which warm up, are not."""
MOST = 1000
"""Steps that are measured in a fit, the marks of which are kept until it is over."""
DATA, MODEL, VALIDATION, TRAINING = "waiting for data", "model", "validation", "training"


class TimeSteps(pl.Callback):
    """Measures the parts of some training steps of a fit, and its validations.

    A part that no strategy names is the model's own: forward and backward pass, optimiser.
    """

    def __init__(self) -> None:
        self.seen, self.validation = 0, 0.0
        self.steps: list[list[tuple[str, Any]]] = []
        self.marks: list[tuple[str, Any]] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """How time is taken here."""
        self.device = pl_module.device

    def on_train_epoch_start(self, *_: Any) -> None:
        """The first batch is waited for, too."""
        self._expect()

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is here."""
        self.seen += 1
        if self.marks is not None:
            self._mark("")
            listen(self._mark)

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is over."""
        if self.marks is not None:
            listen(None)
            self._mark("")
            self.steps.append(self.marks)
        self._expect()

    def on_validation_start(self, *_: Any) -> None:
        """It is no part of a step."""
        self.marks, self.began = None, time.monotonic()

    def on_validation_end(self, *_: Any) -> None:
        """Its time; on a GPU, too, for its scores have been read."""
        self.validation += time.monotonic() - self.began

    def on_exception(self, *_: Any) -> None:
        """Nobody listens any more."""
        listen(None)

    def _expect(self) -> None:
        self.marks = None
        if (self.seen + 1) % EVERY == FIRST and len(self.steps) < MOST:
            self.marks = []
            self._mark(DATA)

    def _mark(self, name: str) -> None:
        assert self.marks is not None
        self.marks.append((name or MODEL, self._now()))

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def divided(self, seconds: float) -> dict[str, float]:
        """The seconds of the fit by what they went to. Call it once the fit is over."""
        found: defaultdict[str, float] = defaultdict(float)
        if self.steps and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        for marks in self.steps:
            for (name, begin), (_, end) in pairwise(marks):
                found[name] += end - begin if isinstance(begin, float) else begin.elapsed_time(end)
        whole, rest = sum(found.values()), max(0.0, seconds - self.validation)
        parts = {name: rest * share / whole for name, share in found.items()} if whole else {TRAINING: rest}
        return parts | ({VALIDATION: self.validation} if self.validation else {})


def told(stages: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage as a leg's record says them: the tests of all sites as one, rounded, without what took none."""
    found: defaultdict[str, float] = defaultdict(float)
    for name, seconds in stages.items():
        found["testing" if name.startswith("testing") else name or "planning and checks"] += seconds
    return {name: round(seconds, 3) for name, seconds in found.items() if seconds >= 0.0005}
