"""What the style memory costs: a relay leg (without projection and expert) against a sequential one, repainting, bytes.

A leg here is what a strategy does with a site's images from :meth:`begin` to :meth:`finish`, all fits in between,
over as many images for both; reading data and testing are the same for both and left out.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from setting import BATCH, DEVICES, model_of, now, report, scratch, site_of

from relay.config import locate, read
from relay.handover import Handover
from relay.leg import Learner, device_of, fit, task_of, training_of
from relay.memory import Form, describe, repaint
from relay.phase import Training
from relay.plan import Leg, plan

STEPS, PAIRS = 100, 3
SIDE, IMAGES, CLASSES = 64, 512, 3


RELAY = ("common.strategy.name=relay", "common.strategy.kwargs={owm_alpha: null, experts: false}")
"""Replay alone: neither projection nor an expert's own fit."""


def leg_of(*strategy: str) -> Leg:
    """The second leg of the demo under a strategy, given by its settings."""
    path, name = locate("demo")
    settings = [f"common.train.batch_size={BATCH}", "common.train.check_val_every_n_epoch=1000"]
    return plan(read(path, [*settings, *strategy]), name).legs[1]


def run(handover: Handover, *strategy: str, steps: int = STEPS, watch: Sequence[Any] = ()) -> tuple[float, float]:
    """Seconds of a leg that starts from ``handover``: of its training, and of its end (:meth:`finish`).

    Args:
        steps: of each of its phases.
        watch: further callbacks of each.
    """
    leg, folder = leg_of(*strategy), scratch()
    site, model = site_of(leg), model_of(leg)
    len(site.train), [site.train[index] for index in range(len(site.train))]  # decoded before the clock starts
    criterion, chosen = leg.loss.build(leg.data.num_classes), leg.strategy
    training: Training = training_of(leg, [site], model, device_of(DEVICES), len(site.train))
    begin = now()
    chosen.setup(model, criterion, task_of(leg))
    chosen.receive(handover)
    chosen.begin(training)
    for phase in chosen.phases():
        learner = Learner(leg, phase, [site], steps, companions=(criterion,))
        fit(learner, folder / "state.ckpt", folder / "curves", DEVICES, [*phase.callbacks, *watch])
    trained = now()
    model.eval()
    chosen.finish(training)
    ended = now()
    shutil.rmtree(folder)
    return trained - begin, ended - trained


def incoming(*strategy: str) -> Handover:
    """What the first leg hands over: an untrained model, and the memory of its site."""
    path, name = locate("demo")
    leg = plan(read(path, strategy), name).legs[0]
    site, model = site_of(leg), model_of(leg)
    training = training_of(leg, [site], model, device_of(DEVICES), len(site.train))
    leg.strategy.setup(model, leg.loss.build(leg.data.num_classes), task_of(leg))
    leg.strategy.receive(None)
    leg.strategy.begin(training)
    leg.strategy.finish(training)
    part: Any = leg.strategy.memory()
    print(f"bytes of a site's memory ({CLASSES} classes, colour): {part.size} (target: at most {16 * 1024})")
    legs = [{"leg": 1, "site": leg.task_name, "train_samples": len(site.train)}]
    return Handover(model.state_dict(), {1: part}, leg.strategy.cumulative(), {"legs": legs})


def repainted() -> float:
    """Images/s."""
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(256, (IMAGES, SIDE, SIDE, 3), generator=draw, dtype=torch.uint8).movedim(-1, 1)
    region = torch.zeros(IMAGES, SIDE, SIDE, dtype=torch.long)
    region[:, 16:48, 16:48], region[:, 24:40, 24:40] = 1, 2
    form = Form(CLASSES, 3, 9, True)
    usual = describe(image, region, form).mean(0)
    wanted = usual + 0.1 * torch.randn(IMAGES, form.size, generator=draw)
    begin = time.perf_counter()
    for start in range(0, IMAGES, BATCH):
        part = slice(start, start + BATCH)
        repaint(image[part], region[part], wanted[part], usual, form)
    return IMAGES / (time.perf_counter() - begin)


if __name__ == "__main__":
    handover = incoming(*RELAY)
    repainted()
    rate = median(repainted() for _ in range(PAIRS))
    print(f"repainted images/s, {SIDE}×{SIDE}×3, {CLASSES} classes: {rate:.0f} (target: at least 3000)")
    pairs = [sum(run(handover, *RELAY)) / sum(run(handover, "common.strategy.name=sequential")) for _ in range(PAIRS)]
    report("relay leg with style : sequential leg, time", pairs, "at most 1.35")
