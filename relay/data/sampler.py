"""The order of an epoch, as a function of its number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from torch.utils.data import Sampler

from relay.seeds import generator

Request: TypeAlias = tuple[int, int, int]


class TrainSampler(Sampler[Request]):
    """The order of an epoch: ``(epoch, position, index)`` for each of this rank's samples.

    An epoch uses every sample ``repeats`` times, in that many consecutive permutations. Batches
    are full: the last incomplete one is dropped or, if it is the only one, filled from further permutations.

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
    ) -> None:
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
        rounds = -(-total // self.samples)
        order = np.concatenate([rng.permutation(self.samples) for _ in range(rounds)])
        return [int(index) for index in order[:total]]

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[Request]:
        epoch, order = self.epoch, self.order(self.epoch)
        for batch in range(self.rank, self.batches * self.world_size, self.world_size):
            for position in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                yield epoch, position, order[position]
