"""A second start from the disk cache, against reading the cache's files once: volumes, and small pictures.

Processor time, so that other processes count little. A start uses no voxel yet: the second ratio is of a start and the
first use of every image, when its checksum is verified.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image
from setting import report, scratch

from relay.data import Dataset, DatasetOptions, Record, Store

PAIRS = 7
VOLUMES, SIDE = 24, 128
PICTURES, WIDTH = 3000, 128
STEPS = [{"name": "Normalise", "kwargs": {"how": "window", "low": -160, "high": 240}}]


class Files(Dataset):
    """Images with masks, in one folder."""

    folder: Path

    def samples(self) -> list[Record]:
        """All of them."""
        images = sorted(self.folder.glob("i*"))
        return [Record(path.name, path.name, (path,), path.with_name(f"m{path.name}")) for path in images]


def volumes(folder: Path) -> dict[str, Any]:
    """CT of noise, compressed."""
    rng = np.random.default_rng(0)
    for i in range(VOLUMES):
        rough = rng.normal(0, 200, (SIDE // 8,) * 3).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        sitk.WriteImage(sitk.GetImageFromArray(rough.astype(np.int16)), str(folder / f"i{i}.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray((rough > 100).astype(np.uint8)), str(folder / f"mi{i}.nii.gz"))
    return {"channels": 1, "steps": STEPS}


def pictures(folder: Path) -> dict[str, Any]:
    """Colours without a pattern."""
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 255, (WIDTH, WIDTH, 3), np.uint8)).save(folder / f"i{i}.png", compress_level=0)
        Image.fromarray(rng.integers(0, 2, (WIDTH, WIDTH), np.uint8)).save(folder / f"mi{i}.png", compress_level=0)
    return {"channels": 3}


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How much processor time it takes, and its result."""
    gc.collect()
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def measure(what: str, draw: Callable[[Path], dict[str, Any]]) -> None:
    """Print the ratios of one kind of images."""
    folder, cache = scratch(), scratch()
    dataset = Files(DatasetOptions(task_id=1, task_name="bench", num_classes=2, **draw(folder)))
    dataset.folder = folder
    time.sleep(3)  # images of files that were just written are not kept
    os.environ["RELAY_CACHE"] = str(cache)
    Store(dataset, dataset.listing)
    starts, passes = [], []
    for _ in range(PAIRS):
        once, _ = seconds(lambda: [path.read_bytes() for path in cache.glob("*.cases")])
        start, store = seconds(lambda: Store(dataset, dataset.listing))
        used, _ = seconds(lambda store=store: [store[i] for i in range(len(store))])
        starts.append(start / once)
        passes.append((start + used) / once)
        print(f"{what}: start {start:.3f} s, use {used:.3f} s; {store.nbytes / 1e6:.0f} MB read in {once:.3f} s")
    report(f"{what}: a second start : reading the cache once", starts, "at most 1.2")
    report(f"{what}: a second start and the first use of every image : reading the cache once", passes, "none")


if __name__ == "__main__":
    measure("volumes", volumes)
    measure("pictures", pictures)
