"""How far the views of an image and the nets of a model agree: maps and numbers of doubt.

The map is the entropy of the mean probabilities in each voxel, as a share of its highest value: 0 where all are sure
and say the same, 1 where every class is as likely. It is the total uncertainty of the mixture of all nets and views
(Depeweg et al. 2018, arXiv:1710.07283). The number of a mask is one minus the Dice of the mask and those of single nets
and views, all of them counted together (after the structure-wise measures of Roy et al. 2019,
10.1016/j.neuroimage.2019.03.042). It needs no truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data import Pixels
from relay.tasks import Task


def doubt_map(mean: NDArray[Any]) -> NDArray[np.float32]:
    """The entropy of probabilities ``(C, *S)`` as a share of its highest value, float32 ``(*S)`` in 0 to 1."""
    p = np.clip(mean.astype(np.float64), 1e-12, 1.0)
    p /= p.sum(0)
    found: NDArray[np.float32] = np.clip(-(p * np.log(p)).sum(0) / np.log(len(p)), 0, 1).astype(np.float32)
    return found


@dataclass
class Agreement:
    """Adds up how a mask agrees with those of single nets and views: over all slices of a volume.

    Attributes:
        classes: how many, with the background.
    """

    classes: int
    common: NDArray[np.float64] = field(init=False)
    sizes: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.common, self.sizes = np.zeros(self.classes), np.zeros(self.classes)

    def add(self, mask: Pixels, other: Pixels, weight: float) -> None:
        """Compare the mask, or a slice of it, with that of one net or view, which counts ``weight``."""
        mine, theirs = (np.bincount(each.ravel(), minlength=self.classes) for each in (mask, other))
        both = np.bincount(mask[mask == other].ravel(), minlength=self.classes)
        self.common += weight * both
        self.sizes += weight * (mine + theirs)

    @property
    def doubt(self) -> float:
        """One minus the mean Dice over the classes that anyone found, without the background; 0 if nobody found any."""
        there = self.sizes[1:] > 0
        return float(1 - (2 * self.common[1:][there] / self.sizes[1:][there]).mean()) if there.any() else 0.0


def doubt_of_answers(answers: NDArray[Any], weights: NDArray[Any], task: Task) -> float:
    """The doubt about an answer without a map, from those of all nets and views ``(N, outputs)``.

    Of classes, the entropy of the mean probabilities as a share of its highest value; of labels, that of the least sure
    label; of a number, the standard deviation of the answers, in its own unit.
    """
    mean = np.average(answers, axis=0, weights=weights)
    if task.likelihood == "gaussian":
        return float(np.sqrt(np.average((answers - mean) ** 2, axis=0, weights=weights)).max())
    if task.likelihood == "bernoulli":
        return float(doubt_map(np.stack([mean, 1 - mean])).max())
    return float(doubt_map(mean))
