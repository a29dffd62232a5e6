"""The order of an epoch, as a function of its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from relay.seeds import generator

Request: TypeAlias = tuple[int, int, int]


def balancing_weights(targets: Sequence[int | tuple[int, ...]]) -> NDArray[np.float64]:
    """A weight for each sample, so that every class is drawn as often.

    Args:
        targets: classes; or for each label whether a sample has it (0 or 1). A sample then has the weight of its rarest
            label; that of "no label at all", if it has none.
    """
    kinds = [_kinds(target) for target in targets]
    counts = Counter(kind for of_one in kinds for kind in of_one)
    return np.array([max(1 / counts[kind] for kind in of_one) for of_one in kinds])


def _kinds(target: int | tuple[int, ...]) -> list[int]:
    if not isinstance(target, tuple):
        return [int(target)]
    return [label for label, there in enumerate(target) if there] or [-1]


class TrainSampler(Sampler[Request]):
    """The order of an epoch: ``(epoch, position, index)`` for each of this rank's samples.

    An epoch uses every sample ``repeats`` times, in that many consecutive permutations. Batches
    are full: the last incomplete one is dropped or, if it is the only one, filled from further permutations.

    With ``weights``, a sample is used about as often as its share of their sum says: of an expected 2.3 times, 2 or 3
    times, as each epoch decides anew.

    Rank ``r`` of ``w`` takes the batches ``r, r + w, …``; all ranks get the same number.
    """

    def __init__(
        self,
        samples: int,
        repeats: int,
        batch_size: int,
        seed: int,
        site: str,
        rank: int = 0,
        world_size: int = 1,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.weights = weights
        self.samples, self.batch_size = samples, batch_size
        self.seed, self.site, self.rank, self.world_size = seed, site, rank, world_size
        self.batches = max(1, samples * repeats // (batch_size * world_size))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch to iterate over (Lightning calls this)."""
        self.epoch = epoch

    def order(self, epoch: int) -> list[int]:
        """The indices of an epoch by position, of all ranks together."""
        rng = generator(self.seed, self.site, "shuffle", epoch)
        total = self.batches * self.batch_size * self.world_size
        if self.weights is not None:
            return self._weighted(total, rng)
        rounds = -(-total // self.samples)
        order = np.concatenate([rng.permutation(self.samples) for _ in range(rounds)])
        return [int(index) for index in order[:total]]

    def _weighted(self, total: int, rng: np.random.Generator) -> list[int]:
        """``total`` indices, systematically resampled: evenly spaced points on the weights' cumulative sum. Samples of
        one weight are side by side, so that a class, too, is drawn as often as its weights say."""
        assert self.weights is not None
        shuffled = rng.permutation(self.samples)
        shuffled = shuffled[np.argsort(self.weights[shuffled], kind="stable")]
        sums = np.cumsum(self.weights[shuffled])
        points = (np.arange(total) + rng.random()) * (sums[-1] / total)
        places = np.searchsorted(sums, points, side="right").clip(max=self.samples - 1)
        return [int(index) for index in rng.permutation(shuffled[places])]

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[Request]:
        epoch, order = self.epoch, self.order(self.epoch)
        for batch in range(self.rank, self.batches * self.world_size, self.world_size):
            for position in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                yield epoch, position, order[position]
