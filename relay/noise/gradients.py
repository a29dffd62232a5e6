"""A gradient that hides each patient: one gradient for each, clipped, added up, with noise (DP-SGD).

Abadi et al. 2016, arXiv:1607.00133, with a patient in the place of an example (McMahan et al. 2018, arXiv:1710.06963).
A patient's gradient is computed alone, on that patient's images only. That is exact for every net without batch
statistics and for every loss: what a loss takes from its batch it can only take from this patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor


def clipped(gradient: Sequence[Tensor | None], most: float) -> list[Tensor | None]:
    """One patient's gradient, scaled so that its norm, over all tensors together, is at most ``most``; in float64.

    One that is not finite counts as zero: it must not tell that this patient took part.
    """
    found = [None if part is None else part.detach().double() for part in gradient]
    there = [part.square().sum() for part in found if part is not None]
    norm = torch.stack(there).sum().sqrt() if there else torch.zeros(())
    if not bool(norm.isfinite()):
        return [None] * len(found)
    factor = torch.clamp(most / norm.clamp(min=1e-300), max=1.0)
    return [None if part is None else part * factor for part in found]


def noisy_mean_gradient(
    losses: Iterable[Tensor],
    parameters: Sequence[Tensor],
    clip: float,
    noise: float,
    expected: float,
    normal: Callable[[int], NDArray],  # type: ignore[type-arg]
) -> list[Tensor]:
    """``(sum of clipped gradients + clip * noise * N(0, 1)) / expected``, shaped like the parameters.

    The sum and the noise are float64, and only their sum is rounded. It is divided by the *expected* number of
    patients: how many there are is a secret.

    Args:
        losses: of one patient each, made on demand; there may be none.
        noise: relative to ``clip``.
        normal: gives so many standard normal numbers.
    """
    total = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in parameters]
    for loss in losses:
        own = torch.autograd.grad(loss, parameters, allow_unused=True)
        for mine, part in zip(total, clipped(own, clip), strict=True):
            if part is not None:
                mine += part
    drawn = torch.from_numpy(normal(sum(part.numel() for part in total)))
    for mine, extra in zip(total, torch.split(drawn, [part.numel() for part in total]), strict=True):
        mine += (clip * noise * extra).to(mine.device).view(mine.shape)
    return [(mine / expected).to(p.dtype) for mine, p in zip(total, parameters, strict=True)]
