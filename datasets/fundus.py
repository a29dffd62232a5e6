"""Optic disc and cup in fundus photographs, in the layout of DoFE.

``<root_path>/<img_folder>/{train,test}/ROIs/{image,mask}/NAME.png``: Wang et al. 2020,
10.1109/TMI.2020.3015224. A mask is grey or RGB with three values: 255 background, 128 disc rim, 0 cup. They
become the classes 0, 1, 2; the optic disc, as usually reported, is rim and cup together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

from relay.config import Field, options
from relay.data import Dataset, DatasetOptions, Record, Regex, Text, Word, by_regex, pairs, refuse, stem

PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")
LEVELS = (255, 128, 0)


@options
class FundusOptions(DatasetOptions):
    """Options of :class:`Fundus`.

    Attributes:
        use_roi: Read the square crops around the disc (``ROIs``), not the whole photographs.
        patient_regex: Finds the patient in a file's stem: group 1, or the whole match. Without it,
            every image counts as a patient.
    """

    task: Literal["segmentation"] = "segmentation"
    root_path: Text
    num_classes: Literal[3] = 3
    class_names: list[Word] | None = Field(default_factory=lambda: ["background", "rim", "cup"])
    use_roi: bool = True
    patient_regex: Regex | None = None


class Fundus(Dataset):
    """DoFE's domains; the published test folder is the test split."""

    Options = FundusOptions
    options: FundusOptions

    def folders(self) -> list[Path]:
        """The image and the mask folder of each domain and part."""
        inner = "ROIs" if self.options.use_roi else "."
        parts = [Path(part, inner, kind) for part in PARTS for kind in ("image", "mask")]
        return [self.root / domain / part for domain in self.options.folder_names for part in parts]

    def mask_values(self) -> Sequence[int]:
        """Exact values: a value in between shows that a mask was smoothed or compressed."""
        return LEVELS

    def samples(self) -> list[Record]:
        """All pairs, domain by domain, train before test, each sorted by name."""
        places = self.folders()
        found, problems = [], []
        domains = [(domain, part) for domain in self.options.folder_names for part in PARTS]
        for (domain, part), images, masks in zip(domains, places[::2], places[1::2], strict=True):
            for image, mask in pairs(images, masks):
                name = PurePath(domain, part, stem(image))
                patient = self._patient(name)
                if patient is None:
                    problems.append(f"{image}: patient_regex does not match its name, {stem(image)}")
                found.append(Record(name.as_posix(), patient or "", (image,), mask, part))
        refuse(problems, f"{self}: images without a known patient", "Correct patient_regex, or remove these images.")
        return found

    def _patient(self, name: PurePath) -> str | None:
        pattern = self.options.patient_regex
        return name.as_posix() if pattern is None else by_regex(pattern, name.name)
