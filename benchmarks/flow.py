"""The flow memory at 64x64: images/s of training it and of drawing from it, against a training step of the model."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from setting import BATCH, first_leg, model_of, report, site_of
from torch import Tensor, nn

from relay.data import scaled, train_loader
from relay.memory import FlowOptions, VelocityNet, join, sample, velocity_loss
from relay.phase import Batch, Task

STEPS, PAIRS = 8, 3


def rate(work: Callable[[], object], times: int) -> float:
    """Images/s of what works on one batch; its first run does not count."""
    work()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return BATCH * times / (time.perf_counter() - begin)


def trained(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step."""
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure in pairs, so that a noisy machine changes both sides alike."""
    leg, options = first_leg("common.dataset.kwargs.img_size=[64,64]"), FlowOptions()
    given = next(iter(train_loader([site_of(leg).train], leg.data, batch_size=BATCH, seed=1, site="bench")))
    batch = Batch(scaled(given["image"], leg.data.intensity_range), given["label"].long(), given["index"])
    task = Task("bench", leg.data.num_classes, leg.data.channels, tuple(leg.data.intensity_range), (64, 64))
    model, criterion = model_of(leg).train(), leg.loss.build(task.classes)
    data, site = join(batch, task), torch.zeros(BATCH, dtype=torch.int64)
    net = VelocityNet(2, data.shape[1], 2, options.features)
    noise, weights = torch.randn_like(data), sum(p.numel() for p in net.parameters())
    print(f"parameters: {weights:,} (the model's: {sum(p.numel() for p in model.parameters()):,})")
    print(f"it travels as {2 * weights / 2**20:.1f} MiB")
    learn = trained(model, lambda: criterion(model(batch.image), batch.label))
    renew = trained(net, lambda: velocity_loss(net, data, site))
    rates = [
        (rate(learn, STEPS), rate(renew, STEPS), rate(lambda: sample(net, noise, site, options.steps), 1))
        for _ in range(PAIRS)
    ]
    best = [max(column) for column in zip(*rates, strict=True)]
    print("images/s, best: model trained {:.0f}, flow trained {:.0f}, drawn {:.1f}".format(*best))
    report(
        "a step of the flow : a step of the model", [learnt / renewed for learnt, renewed, _ in rates], "at most 2.5"
    )
    share = [learnt / drawn for learnt, _, drawn in rates]
    report(f"an image drawn ({options.steps} steps) : an image learned by the model", share, "at most 12")


if __name__ == "__main__":
    main()
