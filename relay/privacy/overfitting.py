"""Models that know their patients by heart, for the controls: a small U-Net, fitted until nothing is left to learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDE = 8
RATE, SLOPE = 1e-2, 0.1
LEARNED, MOST = 0.02, 400
"""Training ends at this loss (cross-entropy, of all images), or after so many steps. Both are the same for every
control, so that none is tuned to be found. With a slope below 0, no net
dies before it has learned anything."""


class Small(nn.Module):
    """Images ``(B, C, S, S)`` to logits, of maps ``(B, classes, S, S)`` or of images ``(B, classes)``.

    It sees an image as a whole: two layers of small kernels can't learn a mask by heart, since what they know of a
    pixel is what is near it, which is much alike in all patients.

    Args:
        side: S, a multiple of 4.
    """

    def __init__(self, channels: int, classes: int, side: int, dense: bool) -> None:
        super().__init__()
        self.into_whole = nn.Conv2d(channels, WIDE, 3, padding=1)
        self.into_half = nn.Conv2d(WIDE, 2 * WIDE, 3, stride=2, padding=1)
        self.into_quarter = nn.Conv2d(2 * WIDE, 4 * WIDE, 3, stride=2, padding=1)
        self.dense = dense
        if dense:
            self.deep = nn.Conv2d(4 * WIDE, 4 * WIDE, 3, padding=1)
            self.up_half = nn.Conv2d(6 * WIDE, 2 * WIDE, 3, padding=1)
            self.up_whole = nn.Conv2d(3 * WIDE, WIDE, 3, padding=1)
            self.head: nn.Module = nn.Conv2d(WIDE, classes, 1)
        else:
            self.head = nn.Linear(4 * WIDE * (side // 4) ** 2, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        whole = functional.leaky_relu(self.into_whole(image), SLOPE)
        half = functional.leaky_relu(self.into_half(whole), SLOPE)
        deep = functional.leaky_relu(self.into_quarter(half), SLOPE)
        if not self.dense:
            found: Tensor = self.head(deep.flatten(1))
            return found
        deep = functional.leaky_relu(self.deep(deep), SLOPE)
        for layer, beside in ((self.up_half, half), (self.up_whole, whole)):
            deep = functional.leaky_relu(
                layer(torch.cat([functional.interpolate(deep, scale_factor=2), beside], 1)), SLOPE
            )
        found = self.head(deep)
        return found


def fitted(image: Tensor, label: Tensor, classes: int, seed: int, until: float = LEARNED) -> nn.Module:
    """A small net, fitted to masks ``(N, S, S)`` or classes ``(N,)`` of images ``(N, C, S, S)``.

    Args:
        until: the loss at which training ends, if not after :data:`MOST` steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = Small(image.shape[1], classes, image.shape[-1], label.ndim > 1)
        model.to(memory_format=torch.channels_last)  # a third faster
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(MOST):
        loss: Any = functional.cross_entropy(model(image), label)
        if float(loss.detach()) < until:
            break
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    fit: nn.Module = model.eval()
    return fit
