"""A few validation images with what the model predicts now, for the operator who watches a leg at this computer.

::

    logs/validation/1.png  2.png  …    the image with the contours of prediction and truth; without masks, the image
    logs/validation/about.json         the step, and a caption for each

Only their owner can open them; they are in nothing that leaves the site, and are removed when the fit ends.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image

from relay.data import viewable
from relay.overlay import overlay

log = logging.getLogger(__name__)
MOST = 4
"""How many images are drawn."""
LONGEST = 900
"""Their longer side, in pixels, at most."""
FIRST = 10.0
"""Seconds before the first are drawn: who trains for less looks at the results."""
SHARE = 0.01
"""The share of the time that drawing may take after that."""


class ShowValidation(pl.Callback):
    """Draws the first validation images at the end of a validation, unless that would take too much of the time.

    Args:
        folder: as of :func:`relay.leg.paths.watched_in`.
        clock: returns the time in seconds; replaced in tests.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock, self.next = folder, clock, clock() + FIRST
        self.found: list[tuple[Any, Any, Any]] = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Keep the first images, with what was decided about them."""
        if not trainer.is_global_zero or len(self.found) >= MOST or self.clock() < self.next:
            return
        rows = zip(batch["image"], outputs, batch["label"], strict=True)
        for row in islice(rows, MOST - len(self.found)):
            self.found.append(tuple(tensor.detach().cpu() for tensor in row))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw them in place of earlier ones. A fit goes on without them: nothing needs them."""
        found, self.found = self.found, []
        if not found:
            return
        began = self.clock()
        names = islice(chain.from_iterable(site.val.samples for site in pl_module.sites), len(found))
        try:
            self._write(pl_module.task, [sample.id for sample in names], found, trainer.global_step)
        except OSError as error:
            log.warning("the validation images can't be shown: %s", error)
        now = self.clock()
        self.next = now + (now - began) / SHARE

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Remove them."""
        if trainer.is_global_zero:
            shutil.rmtree(self.folder, ignore_errors=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Remove them, also if the fit was stopped or failed."""
        self.on_train_end(trainer, pl_module)

    def _write(self, task: Any, names: list[str], found: list[tuple[Any, Any, Any]], step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        captions = []
        for number, (name, row) in enumerate(zip(names, found, strict=True), 1):
            picture, said = drawn(task, *(tensor.numpy() for tensor in row))
            self._put(f"{number}.png", picture)
            captions.append(f"{name}: {said}" if said else name)
        self._put("about.json", json.dumps({"step": step, "captions": captions}).encode())

    def _put(self, name: str, data: bytes) -> None:
        """Replace a file in one step. It need not outlive a power failure, so the disk is not waited for."""
        beside = self.folder / f".{name}"
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        beside.replace(self.folder / name)


def drawn(task: Any, image: NDArray[Any], decided: NDArray[Any], truth: NDArray[Any]) -> tuple[bytes, str]:
    """A PNG, and what it shows, in words.

    Args:
        task: of the data set.
        image: ``(C, *S)``, as stored.
        decided: what :meth:`relay.tasks.Task.decide` gives for it.
        truth: as stored.
    """
    stored = image if image.dtype == np.uint8 else image.astype(np.float32)
    pixels = viewable(np.moveaxis(stored, 0, -1))
    if task.dense:
        picture, said = overlay(pixels, decided.astype(np.uint8), truth.astype(np.uint8)), ""
    else:
        flat = pixels[len(pixels) // 2] if pixels.ndim == 4 else pixels
        picture = Image.fromarray(np.ascontiguousarray(flat if flat.shape[-1] == 3 else flat[..., 0]))
        told = decided if task.fewest is not None else task.answer(torch.from_numpy(decided)).numpy()  # in its own unit
        said = f"predicted {words(task, told)}; the truth is {words(task, truth)}"
    picture.thumbnail((LONGEST, LONGEST))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue(), said


def words(task: Any, decided: NDArray[Any]) -> str:
    """A class, labels or a number, in words."""
    if task.fewest is None:
        return f"{decided.item():.4g}"
    chosen = np.flatnonzero(decided) if decided.ndim else [int(decided)]
    return ", ".join(task.names[k] for k in chosen) or "none"
