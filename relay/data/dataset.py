"""The base of data-set plug-ins.

A plug-in says where its samples are (:meth:`Dataset.samples`) and, unless each sample is an image with an index
mask, how to read one (:meth:`Dataset.read`)::

    @options
    class MineOptions(DatasetOptions):
        camera: str = "left"

    class Mine(Dataset):
        Options = MineOptions
        options: MineOptions

        def samples(self) -> list[Record]: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from relay.data.corrections import corrected, read_corrected
from relay.data.formats.files import stem
from relay.data.options import DatasetOptions
from relay.data.patients import named
from relay.data.problems import refuse
from relay.data.read import read_images, read_pair
from relay.data.record import Case, Record
from relay.data.steps.preparing import by, prepared_slices
from relay.data.steps.slicing import cut, sliced
from relay.errors import DataError
from relay.files import expanded
from relay.logs import hide

EMPTY = "Correct root_path or img_folder in the config, and what chooses among the images, if anything does."
ONCE = "Name each folder only once in img_folder; your own data set must give each sample a unique id."


def _names(sample: Record) -> Iterator[str]:
    """All that a message may call a sample."""
    yield from (sample.id, sample.patient)
    files = (*sample.images, *((sample.target,) if isinstance(sample.target, Path) else ()))
    yield from (name for file in files for name in (file.name, stem(file)))


class Dataset(ABC):
    """A site's images with their masks: ``len(dataset)``, ``dataset[i]`` (a :class:`Case`)."""

    Options: ClassVar[type[DatasetOptions]] = DatasetOptions
    options: DatasetOptions

    def __init__(self, options: DatasetOptions) -> None:
        self.options = options

    @abstractmethod
    def samples(self) -> list[Record]:
        """All samples, in a stable order; this only reads names and opens no image.

        Raises:
            DataError: a folder is missing, or images and masks don't match.
        """

    def read(self, sample: Record) -> Case:
        """The sample at its original size: an image, and a mask of class indices or another target.

        The image has 8 bits if the config has no steps; with steps, its values are as in its files. Of a slice, this is
        the whole volume.

        Raises:
            DataError: a file can't be read, image and mask are at different places in space, or its mask has values
                that are not classes.
        """
        eight_bits = self.options.steps is None
        if isinstance(sample.target, Path):
            return read_pair(sample.images, sample.mask, self.mask_values(), eight_bits)
        return replace(read_images(sample.images, eight_bits), target=self.options.does.target(sample))

    def mask_values(self) -> Sequence[int]:
        """The value of each class in the mask files, background first: the option ``mask_values``, or class indices."""
        return getattr(self.options, "mask_values", None) or range(self.options.outputs)

    @property
    def root(self) -> Path:
        """``root_path``, with ``~`` expanded."""
        return expanded(self.options.root_path)

    def folders(self) -> list[Path]:
        """The folders that must exist; none for a data set without files."""
        return [self.root / name for name in self.options.folder_names]

    def accessible(self) -> bool:
        """Whether all of :meth:`folders` exist."""
        return all(folder.is_dir() for folder in self.folders())

    @cached_property
    def volumes(self) -> list[Record]:
        """:meth:`samples` with normalised names, and with corrected masks if the option ``corrections`` is set: images
        as they are stored, before volumes become slices.

        Raises:
            DataError: one has no patient, or a corrected mask is damaged.
        """
        samples = named(self.samples(), str(self))
        root = [self.root] if getattr(self.options, "root_path", None) else []
        hide((name for sample in samples for name in _names(sample)), [*self.folders(), *root])
        folder = self.options.corrections
        return samples if folder is None else corrected(samples, expanded(folder))

    @cached_property
    def listing(self) -> list[Record]:
        """:meth:`samples`, cached, with normalised names (:mod:`relay.data.patients`), and checked.

        Raises:
            DataError: there are none, two have the same id, or one has no patient.
        """
        samples = self.volumes
        if not samples:
            raise DataError(f"{self}: no images in {', '.join(map(str, self.folders()))}", EMPTY)
        if (axis := self.options.slice_axis) is not None:
            samples = self._slices(samples, axis)
        twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
        refuse(twice, f"{self}: duplicate sample ids", ONCE)
        return samples

    def _slices(self, volumes: Sequence[Record], axis: int) -> list[Record]:
        found: list[Record] = []
        problems: list[DataError] = []
        for volume in volumes:
            try:
                found += sliced(volume, axis)
            except DataError as error:
                problems.append(error)
        refuse(problems, f"{self}: images that can't be read as slices")
        return found

    def load(self, sample: Record) -> Case:
        """The sample as used in training: checked, with ``channels`` channels, after all steps, at ``img_size``.

        Raises:
            DataError: a file can't be read, or image and mask don't match each other or the options.
        """
        return self.load_slices([sample])[0]

    def load_slices(self, samples: Sequence[Record]) -> list[Case]:
        """:meth:`load` for slices of one volume, which is read once."""
        first = samples[0]
        case = self._whole(first)
        return prepared_slices(case, self.options, first.image, [sample.slice for sample in samples])

    def original(self, sample: Record) -> Case:
        """The sample as read; of a slice, only this slice."""
        case, axis = self._whole(sample), self.options.slice_axis
        return case if sample.slice is None or axis is None else cut(case, axis, sample.slice)

    def _whole(self, sample: Record) -> Case:
        case = self.read(sample)
        if sample.corrected is not None:
            case = replace(case, target=read_corrected(sample.corrected, self.options.outputs))
        shape, channels = case.image.shape[:-1], case.image.shape[-1]
        if len(set(sample.images)) > 1 and channels != self.options.channels:  # they are no colours, to be made grey
            raise DataError(
                f"{sample.image}: {channels} channels in {len(sample.images)} files, but the config's channels is "
                f"{self.options.channels}",
                f"Set channels: {channels}, or name the files that the config means.",
            )
        if case.dense and case.target.shape != shape:
            raise DataError(
                f"{sample.image}: size {by(shape)}, but its mask {by(case.target.shape)}",
                "Save each mask at the size of its image, or pair it with the image it was drawn on.",
            )
        return case

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> Case:
        return self.load(self.listing[index])

    def __str__(self) -> str:
        return f"task '{self.options.task_name}'"
