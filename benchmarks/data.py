"""What a batch costs in the second epoch, as a share of the training step that uses it, at 64x64."""

from __future__ import annotations

import time

from setting import BATCH, first_leg, model_of, report, site_of

from relay.data import scaled, train_loader

PAIRS = 5


def batch_cost(augment: str) -> float:
    """Seconds a batch of the second epoch takes, all of it: order, copy, augmentation."""
    leg = first_leg(f"common.dataset.kwargs.augment.train={augment}", "common.dataset.kwargs.repeats=32")
    loader = train_loader([site_of(leg).train], leg.data, batch_size=BATCH, seed=1, site="bench")
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        begin = time.perf_counter()
        batches = sum(1 for _ in loader)
    return (time.perf_counter() - begin) / batches


def step_cost() -> float:
    """Seconds of one training step on a batch that is there already."""
    leg = first_leg()
    loader = train_loader([site_of(leg).train], leg.data, batch_size=BATCH, seed=1, site="bench")
    batch, model = next(iter(loader)), model_of(leg).train()
    criterion, optimizer = leg.loss.build(leg.data.num_classes), leg.optimizer.build(model.parameters())
    for step in range(40):
        if step == 10:
            begin = time.perf_counter()
        optimizer.zero_grad()
        criterion(model(scaled(batch["image"], leg.data.intensity_range)), batch["label"].long()).backward()
        optimizer.step()
    return (time.perf_counter() - begin) / 30


if __name__ == "__main__":
    for augment in ("none", "flip_rotate"):
        ratios = []
        for _ in range(PAIRS):
            data, step = batch_cost(augment), step_cost()
            ratios.append(data / (data + step))
        report(f"data : step, augmentation {augment}", ratios, "at most 0.05")
