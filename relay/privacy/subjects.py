"""Whose images an audit looks at: patients that a leg was trained on, and patients of the same site that it was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relay.data import Record, SiteData, Store, eval_batches, people, scaled
from relay.errors import DataError
from relay.phase import Batch
from relay.plan import Leg
from relay.privacy.evidence import Bools, Floats

ENOUGH = 20
"""With so many test patients, those of the validation split, on whom the leg's models were chosen, are left out."""
AT_ONCE, VOXELS = 32, 1 << 22


class Images:
    """Some images of some stores as one store: what batches and loaders need of :class:`relay.data.Store`."""

    def __init__(self, places: Sequence[tuple[Store, int]]) -> None:
        self.found = list(places)
        self.samples: list[Record] = [store.samples[i] for store, i in places]
        self.shapes = [store.shapes[i] for store, i in places]

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        store, place = self.found[index]
        return store[place]

    @property
    def places(self) -> list[list[NDArray[np.int32]]]:
        """As of a store."""
        return [store.places[i] for store, i in self.found]

    def some(self, chosen: Sequence[int]) -> Images:
        """These of them."""
        return Images([self.found[i] for i in chosen])


@dataclass(frozen=True)
class Subjects:
    """The patients of an audit.

    Attributes:
        images: of all of them.
        whose: the patient of each image, by number.
        names: of the patients. They never leave the site.
        member: whether each was trained on.
        note: who the others are, in words.
    """

    images: Images
    whose: NDArray[np.int64]
    names: Sequence[str]
    member: Bools
    note: str

    def mean(self, values: Floats) -> Floats:
        """Of images, the mean of each patient: ``(…, images)`` to ``(…, patients)``; NaN counts for nothing."""
        there = np.isfinite(values)
        hot = np.eye(len(self.names))[self.whose]
        found: Floats = (np.where(there, values, 0) @ hot) / np.maximum(there.astype(float) @ hot, 1)
        return found

    def least(self, values: Floats) -> Floats:
        """The smallest value of each patient: ``(images,)`` to ``(patients,)``."""
        return np.array([values[self.whose == k].min() for k in range(len(self.names))])

    def members(self) -> Subjects:
        """Only those who were trained on."""
        kept = np.flatnonzero(self.member[self.whose])
        numbers = np.cumsum(self.member) - 1
        names = [name for name, inside in zip(self.names, self.member, strict=True) if inside]
        images = self.images.some(kept.tolist())
        return Subjects(images, numbers[self.whose[kept]], names, np.ones(len(names), bool), self.note)

    def batches(self, leg: Leg, device: torch.device, most: int = AT_ONCE) -> Iterator[Batch]:
        """All images, whole, as the net gets them, in order."""
        largest = max((int(np.prod(shape)) for shape in self.images.shapes), default=1)
        together = max(1, min(most, VOXELS // largest))
        for batch in eval_batches(self.images, together):  # type: ignore[arg-type]
            image: Tensor = scaled(batch["image"].to(device), leg.data.intensity_range)
            yield Batch(image, leg.data.does.label(batch["label"].to(device)), batch["index"].to(device))


def subjects_of(sites: Sequence[SiteData]) -> Subjects:
    """The patients of a leg's sites.

    Raises:
        DataError: a site has no patient that was not trained on.
    """
    places: list[tuple[Store, int]] = []
    owners: list[tuple[bool, str]] = []
    tested = sum(len({sample.patient for sample in site.split.test}) for site in sites)
    alone = tested >= ENOUGH and not any(site.split.stands_in for site in sites)
    for number, site in enumerate(sites):
        others = ["test"] if alone or site.split.stands_in else ["val", "test"]
        stores = [(site.train, True), *((site.store(name), False) for name in others)]  # type: ignore[arg-type]
        known = people(sample.patient for store, _ in stores for sample in store.samples)
        for (store, inside), begin in zip(stores, np.cumsum([0, *(len(store) for store, _ in stores)]), strict=False):
            places += [(store, place) for place in range(len(store))]
            owners += [(inside, f"{number}/{known[begin + place]}") for place in range(len(store))]
    numbers = {owner: k for k, owner in enumerate(dict.fromkeys(owners))}
    member = np.array([inside for inside, _ in numbers])
    if member.all():
        raise DataError(
            "every patient of this site was trained on: there is no one to compare with",
            "Give the data set a test split: test_fraction above 0. Two patients are the least.",
        )
    note = "test patients" if alone else "test and validation patients; the latter were used to choose, so a little of "
    note += "" if alone else "what the models tell may look smaller than it is"
    return Subjects(
        Images(places),
        np.array([numbers[owner] for owner in owners]),
        [name.partition("/")[2] if len(sites) == 1 else name for _, name in numbers],
        member,
        note,
    )
