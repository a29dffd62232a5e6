"""Predictions on the processed image, back on the voxel grid of the image as it was read."""

from __future__ import annotations

import torch
from torch import Tensor

from relay.data.steps.grid import Grid


def restored(probabilities: Tensor, grid: Grid, rows: slice = slice(None)) -> Tensor:
    """Probabilities on the image's own grid, interpolated linearly; what was cropped away is class 0.

    Args:
        probabilities: ``(B, C, *S)`` of the processed image; they sum to 1 over the classes.
        grid: where its voxels lie on the image as read.
        rows: which part of the image's first axis is wanted; the whole image can be larger than the memory.

    Returns:
        ``(B, C, *grid.size)`` or this part of it, of the same type and on the same device.
    """
    inside = torch.ones((), dtype=torch.bool, device=probabilities.device)
    for number, length in enumerate(probabilities.shape[2:]):
        places = grid.places(number)
        at = torch.from_numpy(places if number else places[rows]).to(probabilities.device)
        inside = inside[..., None] & (at >= 0) & (at <= length)
        probabilities = _interpolated(probabilities, number + 2, at - 0.5)
    elsewhere = torch.zeros_like(probabilities)
    elsewhere[:, 0] = 1
    return torch.where(inside, probabilities, elsewhere)


def _interpolated(values: Tensor, axis: int, at: Tensor) -> Tensor:
    """Values at fractional places along an axis; beyond the ends, those at the ends."""
    last = values.shape[axis] - 1
    at = at.clamp(0, last)
    left = at.floor().long()
    share = (at - left).to(values.dtype).view(-1, *[1] * (values.dim() - axis - 1))
    first, second = (values.index_select(axis, place) for place in (left, (left + 1).clamp(max=last)))
    return first + (second - first) * share
