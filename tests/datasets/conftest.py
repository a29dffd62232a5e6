"""Files to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


class Site:
    """Writes images and masks under a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, values: object) -> Path:
        """A picture, or a volume where the ending is one's."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.asarray(values)
        if name.endswith((".nii.gz", ".nii", ".mha", ".nrrd")):
            import SimpleITK as sitk

            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 2.0, 3.0)[: array.ndim])
            sitk.WriteImage(volume, str(path))
        else:
            Image.fromarray(array).save(path)
        return path

    def pairs(self, *stems: str, folder: str = ".", size: tuple[int, int] = (8, 6)) -> None:
        """An image and a mask for each stem."""
        for i, stem in enumerate(stems):
            self.write(f"{folder}/image/{stem}.png", np.full((*size, 3), i, np.uint8))
            self.write(f"{folder}/mask/{stem}.png", np.full(size, i % 2, np.uint8))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
