"""Images per second in bf16 against 32 bits: training a leg's loop, and predicting.

For a small net of few channels, and for a ResNet-18 U-Net at 128×128: ``precision: auto`` leaves
narrow nets in 32 bits on a CPU, because of the first.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from setting import DEVICES, first_leg, model_of, now, phase_of, report, site_of

from relay.data import scaled
from relay.leg import device_of, has_bf16, pays
from relay.phase import Batch

STEPS, WARM, PAIRS, BATCH = 8, 2, 5, 8
NETS: dict[str, tuple[str, ...]] = {
    "features 8 to 64, 64×64": ("common.dataset.kwargs.img_size=[64,64]",),
    "ResNet-18, 128×128": (
        "common.model.kwargs={backbone: resnet18, norm: group}",
        "common.dataset.kwargs.img_size=[128,128]",
        "common.dataset.kwargs.size=128",
    ),
}


def rates(leg: Any, site: Any, device: torch.device, bf16: bool) -> tuple[float, float]:
    """Images/s in training and in predicting."""
    model = model_of(leg).to(device).train()
    phase, criterion = phase_of(leg, model)
    criterion.to(device)
    optimizer = leg.optimizer.build(model.parameters())
    image = torch.stack([torch.tensor(site.train[i][0]) for i in range(BATCH)]).movedim(-1, 1).to(device)
    label = torch.stack([torch.tensor(site.train[i][1]) for i in range(BATCH)]).long().to(device)
    batch = Batch(scaled(image, leg.data.intensity_range), label, torch.arange(BATCH, device=device))

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = torch.stack(list(phase.loss(batch).values())).sum()
        loss.backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            model.eval()(batch.image)

    return _rate(train), _rate(infer)


def _rate(step: Any) -> float:
    begin = 0.0
    for number in range(STEPS + WARM):
        if number == WARM:
            begin = now()
        step()
    return BATCH * STEPS / (now() - begin)


if __name__ == "__main__":
    if not has_bf16(DEVICES):
        sys.exit("there is no bf16 here: precision auto is 32")
    for name, changes in NETS.items():
        leg = first_leg(*changes)
        site, device = site_of(leg), device_of(DEVICES)
        target = "above 1" if pays(model_of(leg), DEVICES) else "none: auto is 32"
        pairs = [(rates(leg, site, device, True), rates(leg, site, device, False)) for _ in range(PAIRS)]
        for what, part in (("training", 0), ("predicting", 1)):
            report(f"{what}, bf16 : 32 bits, images/s ({name})", [a[part] / b[part] for a, b in pairs], target)
