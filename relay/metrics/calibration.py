"""How far probabilities can be believed: expected calibration error, and the bins it is made of.

The confidence of a prediction is the probability of the class it names. Predictions are put into 15 bins of equal
width by confidence, each with its upper bound and without its lower one; of each bin the mean confidence is held
against the share that was right. ``ece`` is the mean of their differences, weighted by the bins' counts (Naeini et
al. 2015, 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599).

``torchmetrics.CalibrationError`` (1.9) agrees; it is not used because it keeps every prediction, and no bins.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from relay.errors import DataError

BINS = 15
CHUNK = 1 << 20
"""How many voxels of an image are processed at a time."""


class CalibrationBins(Metric):  # type: ignore[misc]
    """Bins over all predictions of a set, voxels too; adding a batch does not wait for the device.

    Args:
        num_classes: C, for the sake of those who have it at hand; any C does.
        kwargs: ``torchmetrics.Metric``'s.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    count: Tensor
    confidence: Tensor
    right: Tensor
    wrong: Tensor
    bounds: Tensor

    def __init__(self, num_classes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state("count", torch.zeros(BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("confidence", torch.zeros(BINS, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("right", torch.zeros(BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("wrong", torch.tensor(0), dist_reduce_fx="sum")
        self.register_buffer("bounds", torch.arange(1, BINS, dtype=torch.float64) / BINS, persistent=False)

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            probs: ``(B, C, *S)`` probabilities, adding up to 1 over C.
            target: ``(B, *S)`` labels of any integer type.
        """
        flat, labels = probs.detach().reshape(*probs.shape[:2], -1), target.reshape(len(target), -1)
        for begin in range(0, flat.shape[2], CHUNK):  # a whole volume's would take many times its own memory
            self._add(flat[:, :, begin : begin + CHUNK], labels[:, begin : begin + CHUNK])

    def _add(self, probs: Tensor, target: Tensor) -> None:
        sure, named = probs.max(dim=1)
        sure, right = sure.flatten(), (named == target).flatten()
        place = torch.bucketize(sure, self.bounds.to(sure.dtype))
        self.wrong += (~((sure >= 0) & (sure <= 1 + 1e-5))).sum()
        for state, what in ((self.count, torch.ones_like(place)), (self.confidence, sure), (self.right, right)):
            state.scatter_add_(0, place, what.to(state.dtype))  # bincount would wait for the GPU

    def compute(self) -> dict[str, Any]:
        """What was seen so far.

        Returns:
            ``ece`` in 0..1, and ``bins``: a list of {count, confidence, accuracy}, from low confidence to high; NaN
            where a bin is empty, or all are.

        Raises:
            DataError: a probability was no number, or not in 0..1.
        """
        total = int(self.count.sum())
        bins = []
        sums = (state.tolist() for state in (self.count, self.confidence, self.right))
        for count, confidence, right in zip(*sums, strict=True):
            mean = (confidence / count, right / count) if count else (math.nan, math.nan)
            bins.append({"count": count, "confidence": mean[0], "accuracy": mean[1]})
        if wrong := int(self.wrong):
            raise DataError(
                f"{wrong} of {total} probabilities are no numbers in 0..1",
                "The model's weights may be damaged: test an earlier checkpoint.",
            )
        gaps = (bin["count"] * abs(bin["confidence"] - bin["accuracy"]) for bin in bins if bin["count"])
        return {"ece": sum(gaps) / total if total else math.nan, "bins": bins}
