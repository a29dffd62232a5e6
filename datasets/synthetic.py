"""Synthetic eyes: fundus photographs with optic disc and cup, generated when they are read.

For demonstrations and tests without data. The four cameras differ in colour, contrast, blur, noise, resolution,
vignetting and in the eyes they see. So a model trained on one fails on the others and forgets when it
moves on, as between real hospitals, but more strongly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from relay.config import Field, options
from relay.data import Case, Dataset, DatasetOptions, Record, Word
from relay.seeds import generator

from .phantom import CAMERAS, Camera, photograph


@options
class SyntheticOptions(DatasetOptions):
    """Options of :class:`Synthetic`.

    Attributes:
        count: Number of images; each patient has two, a right and a left eye.
        size: Pixels per side.
        camera: One of the four cameras, or your own.
        seed: Another seed gives other eyes.
    """

    task: Literal["segmentation"] = "segmentation"
    num_classes: Literal[3] = 3
    class_names: list[Word] | None = Field(default_factory=lambda: ["background", "rim", "cup"])
    count: Annotated[int, Field(ge=2)] = 100
    size: Annotated[int, Field(ge=16, le=2048)] = 64
    camera: Literal["clinic_a", "clinic_b", "clinic_c", "clinic_d"] | Camera = "clinic_a"
    seed: Annotated[int, Field(ge=0)] = 0


class Synthetic(Dataset):
    """Synthetic photographs, determined by (seed, task_name, index) alone."""

    Options = SyntheticOptions
    options: SyntheticOptions

    def folders(self) -> list[Path]:
        """No folders: there are no files."""
        return []

    def samples(self) -> list[Record]:
        """``p0000_right``, ``p0000_left``, ``p0001_right``, …; their files don't exist."""
        found = []
        for index in range(self.options.count):
            patient, name = f"p{index // 2:04}", f"p{index // 2:04}_{('right', 'left')[index % 2]}"
            drawn = Path("drawn", self.options.task_name, str(index))
            found.append(Record(name, patient, (drawn,), drawn))
        return found

    def read(self, sample: Record) -> Case:
        """Generate the image and its mask."""
        camera = self.options.camera
        site = (self.options.seed, self.options.task_name)
        index = int(sample.image.name)
        image, mask = photograph(
            CAMERAS[camera] if isinstance(camera, str) else camera,
            self.options.size,
            generator(*site, "patient", sample.patient),
            generator(*site, "eye", index),
            left=index % 2 == 1,
        )
        return Case(image, mask)
