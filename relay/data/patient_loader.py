"""Batches of patients: in each step, every patient takes part with the same chance, whoever else does.

What is done to a patient's images (which are drawn, how they are cropped and augmented) depends only on the seed, the
site, the step and that patient, and they are augmented alone: no other patient can be seen in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from relay.data.loader import Collated, TrainBatches, as_it_is, checked_pool
from relay.data.options import DatasetOptions
from relay.data.patients import people
from relay.data.record import Record
from relay.data.store import Store
from relay.seeds import generator

Draw: TypeAlias = Callable[[int, int], NDArray[np.bool_]]
"""Of so many patients, at a step: who takes part."""
Step: TypeAlias = tuple[int, list[int]]
"""Its number, and the patients that take part, by their numbers."""


def patients_of(sites: Sequence[Sequence[Record]]) -> dict[str, list[int]]:
    """The images of each patient, as positions in the pooled samples of some sites.

    A patient is one at each site: names that may be one person's count as one, but not across sites.
    """
    found: dict[str, list[int]] = defaultdict(list)
    place = 0
    for number, samples in enumerate(sites):
        for name in people(sample.patient for sample in samples):
            found[f"{number}/{name}"].append(place)
            place += 1
    return dict(sorted(found.items()))


class PatientSampler(Sampler[Step]):
    """The steps of an epoch, with who takes part; in some, nobody may."""

    def __init__(self, patients: Sequence[Sequence[str]], steps: int, draw: Draw) -> None:
        self.patients, self.steps, self.draw, self.epoch = patients, steps, draw, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch to iterate over."""
        self.epoch = epoch

    def step(self, epoch: int, place: int) -> Step:
        """A step of an epoch."""
        number = epoch * self.steps + place
        return number, [int(patient) for patient in np.flatnonzero(self.draw(len(self.patients), number))]

    def ids(self, epoch: int, place: int) -> list[str]:
        """The ids of all images of those who take part: for error reports, at the site."""
        return [name for patient in self.step(epoch, place)[1] for name in self.patients[patient]]

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        yield from (self.step(self.epoch, place) for place in range(self.steps))


class PatientBatches(Dataset[dict[str, Any]]):
    """Makes the batch of each patient of a step."""

    def __init__(self, batches: TrainBatches, patients: dict[str, list[int]], most: int) -> None:
        self.batches, self.names, self.images, self.most = batches, list(patients), list(patients.values()), most

    def __getitem__(self, step: Step) -> dict[str, Any]:
        number, patients = step
        return {
            "step": number,
            "names": [self.names[patient] for patient in patients],
            "batches": [self.of(patient, number) for patient in patients],
        }

    def of(self, patient: int, step: int) -> Collated:
        """Some of a patient's images at a step, augmented together."""
        images = self.images[patient]
        rng = generator(self.batches.seed, self.batches.site, "patient", self.names[patient], step)
        drawn = rng.permutation(len(images))[: self.most]
        return self.batches.made([images[place] for place in sorted(drawn.tolist())], rng)


def patient_loader(
    stores: Sequence[Store],
    options: DatasetOptions,
    draw: Draw,
    *,
    steps: int,
    images: int,
    seed: int,
    site: str,
    workers: int = 0,
) -> DataLoader[dict[str, Any]]:
    """Steps of training by patients, each a dict: ``step``, and of those who take part ``names`` and ``batches``.

    Args:
        draw: who takes part in a step.
        steps: of an epoch.
        images: most images of one patient in a step.
        seed, site: what crops and augmentation are derived from; ``workers``: as of
            :func:`relay.data.loader.train_loader`.

    Raises:
        DataError, UserError: as :func:`relay.data.loader.train_loader`.
    """
    pool, patients = checked_pool(stores, options, site), patients_of([store.samples for store in stores])
    ids = [[pool.sample(index).id for index in images] for images in patients.values()]
    return DataLoader(
        PatientBatches(TrainBatches(pool, options, seed, site), patients, images),
        batch_size=None,
        sampler=PatientSampler(ids, steps, draw),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=as_it_is,
    )
