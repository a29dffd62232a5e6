"""Does a map depend on what the model has learned? The test of Adebayo et al. 2018 (arXiv 1810.03292): a map that looks
alike when the net's weights are drawn at random shows the image, not the model."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SEED = 0
ALIKE = 0.5
"""From this rank correlation on, a map is told to be hardly the model's."""
MOST = 1 << 18
"""How many voxels are compared, evenly spread."""


def randomised(net: nn.Module) -> nn.Module:
    """A copy of a net with weights as before any training, the same in each call."""
    fresh = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        for module in fresh.modules():
            again = getattr(module, "reset_parameters", None)
            if callable(again):
                again()
            else:  # a weight of the net itself, as a token or a position
                for weight in module.parameters(recurse=False):
                    weight.normal_(std=float(weight.std(unbiased=False)) or 1.0)
    return fresh


def likeness(heat: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Spearman's rank correlation of two maps, -1 to 1; None if one of them is flat."""
    from scipy.stats import spearmanr

    step = max(1, heat.size // MOST)
    one, two = heat.ravel()[::step], other.ravel()[::step]
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    return float(spearmanr(one, two).statistic)
