"""Processor time of a training step whose memory the process keeps, against one whose memory goes back to the system.

On images and on volumes, each measured in a process of its own. On a CPU, relay trains in the first way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

from setting import now, report

STEPS, WARM, PAIRS = 4, 2, 3
SHAPES = {"images, 8 × 3 × 128 × 128": (8, 3, 128, 128), "volumes, 2 × 1 × 64 × 64 × 64": (2, 1, 64, 64, 64)}


def step_of(shape: tuple[int, ...]) -> Callable[[], None]:
    """A step of a U-Net on noise."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import BasicUNet

    net = BasicUNet(len(shape) - 2, shape[1], 3, features=(16, 16, 32, 64, 96, 16), norm=("group", {"num_groups": 8}))
    loss, optimizer = DiceCELoss(softmax=True, to_onehot_y=True), torch.optim.Adam(net.parameters())
    image, label = torch.randn(shape), torch.randint(3, (shape[0], 1, *shape[2:]))

    def step() -> None:
        optimizer.zero_grad()
        loss(net(image), label).backward()
        optimizer.step()

    return step


def measure(shape: tuple[int, ...], keep: bool) -> None:
    """Print the seconds and the page faults of a step, and the most memory, in MB."""
    import resource

    from relay.leg import kept_memory

    step = step_of(shape)
    with kept_memory() if keep else nullcontext():
        for _ in range(WARM):
            step()
        before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, now()
        for _ in range(STEPS):
            step()
        seconds, used = (now() - begin) / STEPS, resource.getrusage(resource.RUSAGE_SELF)
    print(seconds, (used.ru_minflt - before) / STEPS, used.ru_maxrss / 1000)


def measured(shape: tuple[int, ...], keep: bool) -> list[float]:
    """What :func:`measure` says in a new process."""
    code = f"from heap import measure; measure({shape}, {keep})"
    said = subprocess.run([sys.executable, "-c", code], cwd=sys.path[0], check=True, capture_output=True, text=True)
    return [float(word) for word in said.stdout.split()[-3:]]


if __name__ == "__main__":
    for name, shape in SHAPES.items():
        pairs = [(measured(shape, True), measured(shape, False)) for _ in range(PAIRS)]
        report(f"a step, memory kept : returned ({name})", [a[0] / b[0] for a, b in pairs], "below 1")
        faults, memory = ([median(one[i] for one in side) for side in zip(*pairs, strict=True)] for i in (1, 2))
        print(f"  page faults in a step: {faults[0]:.0f}, {faults[1]:.0f}; memory: {memory[0]:.0f}, {memory[1]:.0f} MB")
