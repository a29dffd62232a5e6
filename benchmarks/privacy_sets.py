"""The sets of :mod:`privacy_audit`: for a seed, thirty patients in random order, one small image each."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image
from torch import Tensor

from relay.privacy import controls
from relay.seeds import generator

SIDE, PATIENTS, WRONG = 16, 30, 0.6
Drawn = Callable[[int], tuple[Tensor, Tensor]]
"""For a seed, images ``(30, C, S, S)`` and their labels."""


def sets(folder: Path | None) -> dict[str, Drawn]:
    """By name; only the synthetic ones without a folder of real images."""
    found: dict[str, Drawn] = {
        "synthetic, segmentation": lambda seed: controls.drawn(seed, True, PATIENTS),
        "synthetic, classification": lambda seed: controls.drawn(seed, False, PATIENTS),
    }
    if folder is not None:
        found["chest X-rays (`cxr_lungs`), segmentation"] = _shuffled(*_lungs(folder / "cxr_lungs/italy"))
        found["hippocampus (`hippocampus`), segmentation"] = _shuffled(*_hippocampus(folder / "hippocampus"))
        found["white blood cells (`wbc_types`), classification"] = _shuffled(*_cells(folder / "wbc_types/isfahan"))
    return found


def _shuffled(images: Tensor, labels: Tensor) -> Drawn:
    def drawn(seed: int) -> tuple[Tensor, Tensor]:
        order = torch.from_numpy(generator(seed, "draw").permutation(len(images))[:PATIENTS])
        return images[order], labels[order]

    return drawn


def _lungs(root: Path) -> tuple[Tensor, Tensor]:
    """Chest X-rays, the first of each patient, with their masks."""
    found: dict[str, Path] = {}
    for path in sorted((root / "image").glob("*.png")):
        found.setdefault(path.name.split("_")[0], path)
    masks = [_picture(root / "mask" / path.name, "L", Image.Resampling.NEAREST) for path in found.values()]
    images = [_picture(path, "L") for path in found.values()]
    return torch.stack(images) / 127.5 - 1, (torch.stack(masks)[:, 0] > 0).long()


def _hippocampus(root: Path) -> tuple[Tensor, Tensor]:
    """The middle slices of volumes, each scaled to -1..1 by itself, with their two parts."""
    images, labels = [], []
    for path in sorted((root / "image").glob("*.nii.gz")):
        volume, mask = (sitk.GetArrayFromImage(sitk.ReadImage(str(root / of / path.name))) for of in ("image", "label"))
        middle = volume[len(volume) // 2].astype(np.float32)
        low, high = np.percentile(middle, (1, 99))
        images.append(_resized(Image.fromarray(np.clip((middle - low) / (high - low), 0, 1) * 2 - 1)))
        small = Image.fromarray(mask[len(mask) // 2].astype(np.uint8))
        labels.append(_resized(small, Image.Resampling.NEAREST)[0].long())
    return torch.stack(images), torch.stack(labels)


def _cells(root: Path) -> tuple[Tensor, Tensor]:
    """White blood cells and their types; no patients are known, so each image counts as one."""
    rows = list(csv.DictReader((root / "labels.csv").open()))
    types = sorted({row["type"] for row in rows})
    paths = {path.stem: path for path in (root / "image").glob("*.png")}
    images = torch.stack([_picture(paths[Path(row["id"]).stem], "RGB") for row in rows]) / 127.5 - 1
    rng = generator(0, "wrong labels")
    told = [int(rng.integers(len(types))) if rng.random() < WRONG else types.index(row["type"]) for row in rows]
    return images, torch.tensor(told)


def _picture(path: Path, mode: str, how: Image.Resampling = Image.Resampling.BILINEAR) -> Tensor:
    with Image.open(path) as opened:
        return _resized(opened.convert(mode), how)


def _resized(image: Image.Image, how: Image.Resampling = Image.Resampling.BILINEAR) -> Tensor:
    small = np.array(image.resize((SIDE, SIDE), how), np.float32)
    return torch.from_numpy(np.atleast_3d(small)).movedim(-1, 0)
