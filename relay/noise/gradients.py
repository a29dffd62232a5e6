"""A gradient that hides each patient: one gradient for each, clipped, added up, with noise (DP-SGD).

Abadi et al. 2016, arXiv:1607.00133, with a patient in the place of an example (McMahan et al. 2018, arXiv:1710.06963).
A patient's gradient is computed alone, on that patient's images only. That is exact for every net without batch
statistics and for every loss: what a loss takes from its batch it can only take from this patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def clipped(gradient: Tensor, most: float) -> Tensor:
    """One patient's gradient, a float64 vector, scaled so that its norm is at most ``most``.

    One that is not finite counts as zero: it must not tell that this patient took part.
    """
    norm = gradient.norm()
    if not bool(norm.isfinite()):
        return torch.zeros_like(gradient)
    return gradient * torch.clamp(most / norm.clamp(min=1e-300), max=1.0)


def noisy_mean_gradient(
    losses: Iterable[Tensor],
    parameters: Sequence[Tensor],
    clip: float,
    noise: float,
    expected: float,
    normal: Callable[[int], NDArray[np.float64]],
) -> list[Tensor]:
    """``(sum of clipped gradients + clip * noise * N(0, 1)) / expected``, shaped like the parameters.

    The sum and the noise are float64, and only their sum is rounded. It is divided by the *expected* number of
    patients: how many there are is a secret.

    Args:
        losses: of one patient each, made on demand; there may be none.
        noise: relative to ``clip``.
        normal: gives so many standard normal numbers.
    """
    sizes = [parameter.numel() for parameter in parameters]
    total = torch.zeros(sum(sizes), dtype=torch.float64, device=parameters[0].device)
    for loss in losses:
        own = torch.autograd.grad(loss, parameters, materialize_grads=True)
        total += clipped(torch.cat([part.flatten() for part in own]).double(), clip)
    total += clip * noise * torch.from_numpy(normal(len(total))).to(total.device)
    parts = torch.split(total / expected, sizes)
    return [part.view(p.shape).to(p.dtype) for part, p in zip(parts, parameters, strict=True)]
