"""Volumes: reading them, and batches of patches; against monai's CacheDataset and DataLoader on the same files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from setting import report, scratch
from torch.utils.data import DataLoader

from relay.data import Dataset, DatasetOptions, Record, Store, train_loader

COUNT, SIDE, PATCH, BATCH, REPEATS, PAIRS = 12, 96, 48, 4, 20, 3
STEPS = [{"name": "Normalise", "kwargs": {"how": "window", "low": -160, "high": 240}}]


class Scans(Dataset):
    """Compressed NIfTI files with masks."""

    folder: Path

    def samples(self) -> list[Record]:
        """All of them."""
        return [
            Record(f"{i}", f"{i}", (self.folder / f"i{i}.nii.gz",), self.folder / f"m{i}.nii.gz") for i in range(COUNT)
        ]


def write(folder: Path) -> None:
    """CT of noise, smooth enough to be compressed."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        rough = rng.normal(0, 200, (SIDE // 8,) * 3).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        noisy = (rough + rng.normal(0, 10, rough.shape)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(noisy), str(folder / f"i{i}.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray((rough > 100).astype(np.uint8)), str(folder / f"m{i}.nii.gz"))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and its result."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def theirs(dataset: Dataset) -> Any:
    """monai's cache of the same."""
    from monai.data import CacheDataset
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        LoadImaged,
        Orientationd,
        RandFlipd,
        RandSpatialCropd,
        ScaleIntensityRanged,
    )

    files = [{"image": sample.image, "label": sample.mask} for sample in dataset.listing]
    both = ["image", "label"]
    flips = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)]
    steps = [
        LoadImaged(both),
        EnsureChannelFirstd(both),
        Orientationd(both, "RAS", labels=None),
        ScaleIntensityRanged("image", -160, 240, -1, 1, clip=True),
        RandSpatialCropd(both, (PATCH,) * 3, random_size=False),
        *flips,
    ]
    return CacheDataset(files, Compose(steps), num_workers=os.cpu_count(), progress=False)


def epochs_of_theirs(cached: Any) -> int:
    """As many patches as an epoch of ours."""
    loader = DataLoader(cached, batch_size=BATCH, shuffle=True, num_workers=0)
    return sum(len(batch["image"]) for _ in range(REPEATS) for batch in loader)


def main() -> None:
    """Print the ratios."""
    folder = scratch()
    write(folder)
    kwargs = {"channels": 1, "steps": STEPS, "patch_size": [PATCH] * 3, "augment": {"train": "flip"}}
    dataset = Scans(DatasetOptions(task_id=1, task_name="bench", num_classes=2, repeats=REPEATS, **kwargs))
    dataset.folder = folder
    loads, rates = [], []
    os.environ.pop("RELAY_CACHE", None)
    for _ in range(PAIRS):
        mine, store = seconds(lambda: Store(dataset, dataset.listing))
        other, cached = seconds(lambda: theirs(dataset))
        loads.append(other / mine)
        loader = train_loader([store], dataset.options, batch_size=BATCH, seed=1, site="bench")
        mine, _ = seconds(lambda loader=loader: sum(1 for _ in loader))
        other, _ = seconds(lambda cached=cached: epochs_of_theirs(cached))
        rates.append(other / mine)
    report("volumes read/s : monai's CacheDataset", loads, "at least 1")
    report("patches/s : monai's CacheDataset and DataLoader", rates, "at least 1")


if __name__ == "__main__":
    main()
