"""A site's data, ready to train and test on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from relay.data.dataset import Dataset
from relay.data.options import SplitName
from relay.data.sample import Pixels
from relay.data.splits import SPLITS, Split, split
from relay.data.store import Store
from relay.errors import DataError


class SiteData:
    """A data set with its split; a split's images are read when they are first asked for.

    Attributes:
        dataset: The data set.
        split: Who is in which split.
    """

    def __init__(self, dataset: Dataset, split: Split, spool: Path | None = None) -> None:
        self.dataset = dataset
        self.split = split
        self._spool = spool

    @cached_property
    def train(self) -> Store:
        """The training pictures."""
        return self._store("train")

    @cached_property
    def val(self) -> Store:
        """The validation pictures; there may be none."""
        return self._store("val")

    @cached_property
    def test(self) -> Store:
        """The test pictures."""
        return self._store("test")

    def store(self, name: SplitName) -> Store:
        """The pictures of a split, by its name."""
        store: Store = getattr(self, name)
        return store

    def truth(self, name: SplitName, index: int) -> tuple[Pixels, tuple[float, ...] | None]:
        """A picture's mask at its original size, uint8 ``(*S)``, and its spacing in mm or None.

        It is read again where the pictures are resized.
        """
        if self.dataset.options.img_size is None:
            store = self.store(name)
            return store[index][1], store.spacings[index]
        picture = self.dataset.read(self.split[name][index])
        return picture.mask, picture.spacing

    def _store(self, name: SplitName) -> Store:
        return Store(self.dataset, self.split[name], self._spool)


def prepare(dataset: Dataset, seed: int, spool: Path | None = None, splits: Sequence[SplitName] = SPLITS) -> SiteData:
    """Look up a site's samples and split them; no image is read yet.

    Args:
        dataset: The site's data set.
        seed: The study's seed.
        spool: A folder for what does not fit into RAM (see :class:`Store`).
        splits: The splits that will be needed.

    Raises:
        DataError: train or test is needed and empty, or the data set is not whole.
    """
    parts = split(dataset.listing, dataset.options, seed)
    for name in splits:
        if name != "val" and not parts[name]:
            patients = len({sample.patient for sample in dataset.listing})
            raise DataError(
                f"{dataset}: the {name} split is empty: {len(dataset)} images of {patients} patients in "
                + ", ".join(map(str, dataset.folders())),
                "At least two patients are needed; see test_fraction in the config, and whether the "
                "publisher's split marks all images as one part.",
            )
    return SiteData(dataset, parts, spool)
