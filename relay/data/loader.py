"""Batches without hidden state.

A batch depends only on (seed, site, epoch, its position in the epoch), not on anything that happened
before. So a leg that is resumed at epoch 7, with other workers, sees the same batches.

A batch is a dict: ``image`` uint8 or float16 ``(B, C, *S)``, ``label`` ``(B, *S)`` of uint8 (or ``(B, …)`` of what
else the data set reads), ``index`` int64 ``(B)``, the samples' positions in the (pooled) stores. Intensities become
floats in ``intensity_range`` later, on the device.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, islice
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from relay.augment import augment, check
from relay.data.options import DatasetOptions
from relay.data.patches import Place, random_patches
from relay.data.record import Record
from relay.data.sampler import Request, TrainSampler, balancing_weights
from relay.data.store import Store
from relay.errors import DataError
from relay.seeds import generator

Collated: TypeAlias = dict[str, Tensor]


def scaled(image: Tensor, intensity_range: Sequence[float]) -> Tensor:
    """Images as stored, uint8 ``0..255`` or float16 ``-1..1``, to float ``intensity_range``."""
    low, high = intensity_range
    if image.is_floating_point():
        return image.float().mul_((high - low) / 2).add_((high + low) / 2)
    return image.float().mul_((high - low) / 255).add_(low)


class Pool:
    """Several stores as one: ``pool[i]`` indexes the first, then the second, and so on."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = list(stores)
        self._ends = list(accumulate(len(store) for store in self.stores))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        store, place = self._find(index)
        return store[place]

    def look(self) -> None:
        """Find voxels of each class in all stores, before worker processes start."""
        for store in self.stores:
            store.places  # noqa: B018  cached

    def centres(self, indices: Sequence[int], share: float, rng: np.random.Generator) -> list[Place | None]:
        """For each index: a voxel of a class present, each class being as likely, in ``share`` of the cases; else None.

        It makes the same number of draws whatever is in the images.
        """
        draws = rng.random((len(indices), 3))
        found: list[Place | None] = []
        for index, (chance, which, where) in zip(indices, draws.tolist(), strict=True):
            store, place = self._find(index)
            classes = store.places[place]
            voxels = classes[int(which * len(classes))] if classes and chance < share else None
            found.append(None if voxels is None else tuple(voxels[int(where * len(voxels))].tolist()))
        return found

    def sample(self, index: int) -> Record:
        """The sample at an index."""
        store, place = self._find(index)
        return store.samples[place]

    def _find(self, index: int) -> tuple[Store, int]:
        which = bisect_right(self._ends, index)
        return self.stores[which], index - (self._ends[which - 1] if which else 0)


class TrainBatches(Dataset[Collated]):
    """Makes complete batches: crops, augments, stacks."""

    def __init__(self, pool: Pool, options: DatasetOptions, seed: int, site: str) -> None:
        self.pool, self.seed, self.site = pool, seed, site
        self.patch_size, self.foreground = options.patch_size, options.foreground
        self.augmentation = options.augment.get("train", "none")

    def __getitems__(self, requests: list[Request]) -> Collated:
        epoch, first, _ = requests[0]
        indices = [index for _, _, index in requests]
        return self.made(indices, generator(self.seed, self.site, "augment", epoch, first))

    def made(self, indices: list[int], rng: np.random.Generator) -> Collated:
        """A batch of these samples; ``rng`` decides crops and augmentation."""
        pairs = [self.pool[index] for index in indices]
        if self.patch_size is not None:
            centres = self.pool.centres(indices, self.foreground, rng) if self.foreground else None
            pairs = random_patches(pairs, self.patch_size, rng, centres)
        images, targets = _stack(pairs)
        dense = targets.ndim == images.ndim - 1
        masks = targets if dense else np.zeros(images.shape[:-1], np.uint8)
        images, masks = augment(self.augmentation, images, masks, seed=int(rng.integers(2**32)))
        return _batch(images, masks if dense else targets, indices)


def train_loader(
    stores: Sequence[Store],
    options: DatasetOptions,
    *,
    batch_size: int,
    seed: int,
    site: str,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pinned: bool = False,
) -> DataLoader[Collated]:
    """Training batches from one site's store, or from several sites' together.

    Args:
        stores: The training stores.
        options: Their ``repeats``, ``patch_size`` and ``augment`` apply to all stores.
        batch_size: Samples per batch, on each rank.
        seed: The study's seed.
        site: The name from which random seeds are derived.
        workers: Processes that make batches; 0 for this process. The batches are the same.
        rank: Number of this process among those that train together.
        world_size: How many there are.
        pinned: Whether batches lie in pinned memory, which a GPU copies while it computes.

    Raises:
        DataError: the stores are empty, or sizes differ and there is no ``patch_size``.
        UserError: the chosen augmentation does not work for volumes.
    """
    pool = checked_pool(stores, options, site)
    targets: list[Any] = [pool.sample(index).target for index in range(len(pool))]
    weights = balancing_weights(targets) if options.balance else None
    sampler = TrainSampler(len(pool), options.repeats, batch_size, seed, site, rank, world_size, weights)
    return DataLoader(
        TrainBatches(pool, options, seed, site),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=as_it_is,
        pin_memory=pinned,
        generator=torch.Generator(),  # so that making an iterator does not change torch's own random state
    )


def checked_pool(stores: Sequence[Store], options: DatasetOptions, site: str) -> Pool:
    """The stores as one, after checking that batches can be made of them; arguments and errors as of
    :func:`train_loader`."""
    pool = Pool(stores)
    if not len(pool):
        raise DataError(f"task '{site}': no images to train on")
    shapes = [shape for store in stores for shape in store.shapes]
    _check_shapes(shapes, options.patch_size, site)
    check(options.augment.get("train", "none"), len(shapes[0]))
    if options.foreground:
        pool.look()
    return pool


def sample_ids(loader: DataLoader[Any], epoch: int, batch_index: int) -> list[str]:
    """The ids of the samples in a batch of :func:`train_loader`, or of another loader that knows them by itself: for
    error reports, at the site."""
    sampler, batches = loader.sampler, loader.dataset
    if known := getattr(sampler, "ids", None):
        return list(known(epoch, batch_index))
    assert isinstance(sampler, TrainSampler)
    assert isinstance(batches, TrainBatches)
    begin = (batch_index * sampler.world_size + sampler.rank) * sampler.batch_size
    order = sampler.order(epoch)[begin : begin + sampler.batch_size]
    return [batches.pool.sample(index).id for index in order]


def eval_batches(store: Store, batch_size: int, some: Iterable[int] | None = None) -> Iterator[Collated]:
    """A store's images, or some of them, in order, whole; a batch ends early if the next image has another size."""
    for _, same in groupby(range(len(store)) if some is None else some, key=store.shapes.__getitem__):
        while indices := list(islice(same, batch_size)):
            yield _batch(*_stack([store[i] for i in indices]), indices)


def as_it_is(batch: Any) -> Any:
    """Batches are ready: nothing is to be collated."""
    return batch


def _batch(images: NDArray[Any], masks: NDArray[Any], indices: list[int]) -> Collated:
    """Channels come first only by their strides: the layout, channels last, is the fastest for convolutions."""
    return {
        "image": torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1),
        "label": torch.from_numpy(np.ascontiguousarray(masks)),
        "index": torch.tensor(indices),
    }


def _stack(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    images, masks = zip(*pairs, strict=True)
    return np.stack(images), np.stack(masks)


def _check_shapes(shapes: list[tuple[int, ...]], patch_size: list[int] | None, site: str) -> None:
    axes = {len(shape) for shape in shapes}
    if patch_size is not None and axes != {len(patch_size)}:
        found = " or ".join(map(str, sorted(axes)))
        raise DataError(
            f"task '{site}': patch_size {patch_size} has {len(patch_size)} axes, its images {found}",
            "Give patch_size one number for each axis of the images; don't mix 2D images and volumes.",
        )
    if patch_size is None and len(set(shapes)) > 1:
        some = ", ".join("×".join(map(str, shape)) for shape in sorted(set(shapes))[:5])
        raise DataError(
            f"task '{site}': images of {len(set(shapes))} sizes ({some}) can't be put into one batch",
            "Set img_size (to resize images) or patch_size (to train on patches) in the dataset's kwargs.",
        )
