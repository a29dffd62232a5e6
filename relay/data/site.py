"""A site's data, ready to train and test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay.data.dataset import Dataset
from relay.data.formats.files import is_series
from relay.data.options import SplitName
from relay.data.record import Case, Pixels, Record
from relay.data.sizes import viewable
from relay.data.splits import SPLITS, Split, as_stored, split
from relay.data.spool import Spool
from relay.data.steps.slicing import cut
from relay.data.store import BadImages, Step, Store, refuse_images
from relay.data.suiting import axes_of
from relay.data.withdrawn import Withdrawn
from relay.errors import DataError

AXES = (
    "Give it one number for each axis of the images: rows, columns; of volumes slices, rows, columns. Or read volumes "
    "as 2D images: slices: axial. Don't mix 2D images and volumes."
)


class SiteData:
    """A data set with its split; a split's images are read on first use.

    Attributes:
        dataset: The data set.
        split: The samples of each split.
    """

    def __init__(self, dataset: Dataset, split: Split, spool: Spool | None = None) -> None:
        self.dataset = dataset
        self.split = split
        self._spool = spool
        self._stores: dict[SplitName, Store] = {}
        self._volume: tuple[Any, Case] | None = None

    @property
    def train(self) -> Store:
        """The training images."""
        return self.store("train")

    @property
    def val(self) -> Store:
        """The validation images; there may be none."""
        return self.store("val")

    @property
    def test(self) -> Store:
        """The test images."""
        return self.store("test")

    def store(self, name: SplitName) -> Store:
        """The images of a split, by its name.

        Raises:
            DataError: some can't be used.
        """
        self.read([name])
        return self._stores[name]

    def read(self, names: Sequence[SplitName], step: Step | None = None) -> None:
        """Read all images of the given splits.

        Args:
            step: Called after each image.

        Raises:
            DataError: some images can't be used.
        """
        problems: list[DataError] = []
        if first := next((sample for name in names for sample in self.split[name]), None):
            self._check_axes(first)
        for name in names:
            try:
                if name == "test" and self.split.stands_in and "val" in self._stores:
                    self._stores[name] = self._stores["val"]
                if name not in self._stores:
                    self._stores[name] = Store(self.dataset, self.split[name], self._spool, step=step)
            except BadImages as error:
                problems += error.refused
        refuse_images(self.dataset, problems)

    def rest(self) -> None:
        """Leave RAM until the images are used again, as far as they are in a file."""
        self._volume = None
        for store in self._stores.values():
            store.rest()

    def _check_axes(self, first: Record) -> None:
        """Compare an image with the options before all are read, each of which would otherwise be refused alone.

        Raises:
            DataError: they are for another number of axes.
        """
        wanted, path = self.dataset.options.axes, first.image
        own = type(self.dataset).read is not Dataset.read  # a data set's own read may do anything
        if wanted is None or own or first.slice is not None or not (path.exists() or is_series(path)):
            return
        try:
            axes = axes_of(path)
        except DataError:
            return  # reading names it together with all others
        if axes not in (wanted[0], None):
            raise DataError(f"{self.dataset}: {path} has {axes} axes, but {wanted[1]} is for {wanted[0]}", AXES)

    def truth(self, name: SplitName, index: int) -> tuple[Pixels, tuple[float, ...] | None]:
        """An image's mask at its original size, uint8 ``(*S)``, and its spacing in mm or None.

        It is read again if steps or ``img_size`` have changed the voxel grid.
        """
        store = self.store(name)
        if store.grids[index] is None:
            return store[index][1], store.spacings[index]
        case = self.original(self.split[name][index])
        return case.target, case.spacing

    def view(self, sample: Record) -> Pixels:
        """An image at its original size as 8 bits, to look at: uint8 ``(*S, C)``."""
        return viewable(self.original(sample).image)

    def original(self, sample: Record) -> Case:
        """:meth:`.Dataset.original`; of slices that follow each other, the volume is read once."""
        if sample.slice is None:
            return self.dataset.original(sample)
        volume = (sample.images, sample.target, sample.corrected)
        if self._volume is None or self._volume[0] != volume:
            self._volume = volume, self.dataset.original(replace(sample, slice=None))
        axis = self.dataset.options.slice_axis
        assert axis is not None
        return cut(self._volume[1], axis, sample.slice)


def prepare(
    dataset: Dataset,
    seed: int,
    spool: Spool | None = None,
    splits: Sequence[SplitName] = SPLITS,
    score_corrected: bool = False,
) -> SiteData:
    """Find a site's samples and split them, without patients who have withdrawn; no image is read yet.

    Args:
        dataset: The site's data set.
        seed: The study's seed.
        spool: Where images go that are not to stay in RAM (see :class:`Store`).
        splits: The splits that will be needed.
        score_corrected: Whether masks that people have corrected are also used for validation and test images: a person
            must have said so. Otherwise, only training images use them.

    Raises:
        DataError: train or test is needed but empty, or the data set is incomplete.
        UserError: the list of patients who have withdrawn is damaged.
    """
    everyone = split(dataset.listing, dataset.options, seed)
    dealt = Withdrawn.of_home().left_out(everyone, dataset.options.task_name)
    parts = dealt if score_corrected or dataset.options.corrections is None else as_stored(dealt)
    for name in splits:
        if name == "test" and dataset.options.split == "validation" and not parts.test:
            raise DataError(
                f"{dataset}: split: validation tests on validation images, but there are none",
                "Raise val_fraction, or add patients; at least two are needed beside those of the test set.",
            )
        if name != "val" and not parts[name]:
            if dataset.options.split == "test":
                raise DataError(
                    f"{dataset}: split: test makes all its images test images, so there are none to train on",
                    "To train or adopt a model here, leave out split: test.",
                )
            patients = len({sample.patient for sample in dataset.listing})
            raise DataError(
                f"{dataset}: the {name} split is empty: {len(dataset)} images of {patients} patients in "
                + ", ".join(map(str, dataset.folders())),
                "At least two patients are needed to train and test; see test_fraction in the config, and whether the "
                "publisher's split marks all images as one part. A site to test on alone: split: test.",
            )
    return SiteData(dataset, parts, spool)
