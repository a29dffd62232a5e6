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
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from relay.data.options import DatasetOptions
from relay.data.patients import named
from relay.data.problems import refuse
from relay.data.read import read_pair
from relay.data.record import Case, Record
from relay.data.sizes import as_channels, resize_image, resize_mask
from relay.errors import DataError
from relay.files import expanded

ONCE = "Name each folder only once in img_folder; your own data set must give each sample a unique id."


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
        """The sample at its original size: an image and a mask of class indices.

        Raises:
            DataError: a file can't be read, image and mask are at different places in space, or its mask has values
                that are not classes.
        """
        return read_pair(sample.image, sample.mask, self.mask_values())

    def mask_values(self) -> Sequence[int]:
        """The value of each class in the mask files, background first; usually class indices."""
        return range(self.options.outputs)

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
    def listing(self) -> list[Record]:
        """:meth:`samples`, cached, with normalised names (:mod:`relay.data.patients`), and checked.

        Raises:
            DataError: there are none, two have the same id, or one has no patient.
        """
        samples = named(self.samples(), str(self))
        if not samples:
            raise DataError(f"{self}: no images in {', '.join(map(str, self.folders()))}")
        twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
        refuse(twice, f"{self}: duplicate sample ids", ONCE)
        return samples

    def load(self, sample: Record) -> Case:
        """The sample as used in training: checked, with ``channels`` channels, resized to ``img_size``.

        Raises:
            DataError: a file can't be read, or image and mask don't match each other or the options.
        """
        picture = self.read(sample)
        shape, size = picture.target.shape, self.options.img_size
        if picture.image.shape[:-1] != shape:
            raise DataError(
                f"{sample.image}: size {_by(picture.image.shape[:-1])}, but its mask {_by(shape)}",
                "Save each mask at the size of its image, or pair it with the image it was drawn on.",
            )
        image = as_channels(picture.image, self.options.channels)
        if size is None or tuple(size) == shape:
            return replace(picture, image=image)
        if len(size) != len(shape):
            raise DataError(
                f"{sample.image}: size {_by(shape)} can't be resized to img_size {_by(size)}",
                "Give img_size one number for each axis of the images; don't mix 2D images and volumes.",
            )
        spacing = picture.spacing and tuple(
            mm * old / new for mm, old, new in zip(picture.spacing, shape, size, strict=True)
        )
        return replace(
            picture, image=resize_image(image, size), target=resize_mask(picture.target, size), spacing=spacing
        )

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> Case:
        return self.load(self.listing[index])

    def __str__(self) -> str:
        return f"task '{self.options.task_name}'"


def _by(shape: tuple[int, ...] | list[int]) -> str:
    return "×".join(map(str, shape))
