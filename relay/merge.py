"""Average a model with another's weights, and then correct its normalisation statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@torch.no_grad()
def merge(model: nn.Module, other: Mapping[str, Tensor], weight: float) -> None:
    """``model = (1 - weight) * model + weight * other``, for every floating-point entry of its state.

    Args:
        other: a state dict with the same names and shapes, on any device.
        weight: of ``other``, in [0, 1].

    Raises:
        ValueError: the weight is outside [0, 1].
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight {weight} is outside [0, 1]")
    for name, mine in model.state_dict().items():
        if mine.is_floating_point():
            mine.lerp_(other[name].to(mine.device, mine.dtype), weight)


@torch.no_grad()
def refresh_statistics(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Recompute the running mean and variance of batch-normalisation layers over ``images``.

    An average of two nets has activations that neither net's statistics describe (Izmailov et al. 2018,
    section 3.2). Nets with group or instance normalisation have no statistics and stay unchanged; the images are not
    read.
    """
    if not any(isinstance(m, BATCH_NORMS) and m.track_running_stats for m in model.modules()):
        return
    torch.optim.swa_utils.update_bn(images, model)
