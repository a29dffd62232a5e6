"""Training images per second: a leg's loop (Lightning, callbacks, curves, data) against a bare PyTorch loop."""

from __future__ import annotations

import shutil
from typing import Any

import pytorch_lightning as pl
import torch
from setting import BATCH, DEVICES, first_leg, model_of, now, phase_of, report, scratch, site_of

from relay.data import scaled
from relay.leg import KeepState, Learner, Progress, ShowProgress, StopOnNonFinite, device_of, fit

STEPS, WARM, PAIRS = 120, 20, 5


class Clock(pl.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(now())


def leg_rate() -> float:
    """Images/s of the leg's loop, without its first steps."""
    leg = first_leg("common.train.num_epochs=1000", "common.dataset.kwargs.augment.train=flip_rotate")
    model, clock, folder = model_of(leg), Clock(), scratch()
    phase, criterion = phase_of(leg, model)
    learner = Learner(leg, phase, [site_of(leg)], STEPS, companions=(criterion,))
    watch = [
        ShowProgress(Progress(STEPS)),
        StopOnNonFinite(20, folder),
        clock,
        KeepState(folder / "state.ckpt", 30),
    ]
    fit(learner, folder / "state.ckpt", folder / "curves", DEVICES, watch)
    shutil.rmtree(folder)
    return BATCH * (STEPS - WARM) / (clock.ends[-1] - clock.ends[WARM - 1])


def bare_rate() -> float:
    """Images/s of the shortest loop that trains the same net on the same images."""
    leg = first_leg()
    device = device_of(DEVICES)
    model, site = model_of(leg).train().to(device), site_of(leg)
    criterion, optimizer = leg.loss.build(leg.data.num_classes).to(device), leg.optimizer.build(model.parameters())
    images = torch.stack([torch.from_numpy(site.train[i][0]) for i in range(len(site.train))]).movedim(-1, 1).to(device)
    labels = torch.stack([torch.from_numpy(site.train[i][1]) for i in range(len(site.train))]).long().to(device)
    begin = 0.0
    for step in range(STEPS):
        if step == WARM:
            begin = now()
        chosen = torch.randint(len(images), (BATCH,), device=device)
        optimizer.zero_grad()
        criterion(model(scaled(images[chosen], leg.data.intensity_range)), labels[chosen]).backward()
        optimizer.step()
    return BATCH * (STEPS - WARM) / (now() - begin)


if __name__ == "__main__":
    report("leg's loop : bare loop, images/s", [leg_rate() / bare_rate() for _ in range(PAIRS)], "at least 0.9")
