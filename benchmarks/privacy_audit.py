"""Is the privacy audit right? Power and size on synthetic and real images, and an attack that it does not use.

    python benchmarks/privacy_audit.py [--data FOLDER] [--seeds 20] [--out FILE]

Power: how often a model is flagged that was overfitted on ten patients. Size: how often one that was trained on ten
other patients is. Real sets are those of ``--data`` (``cxr_lungs``, ``wbc_types``), at 16 x 16 pixels; patients are
drawn anew for each seed. So that classes must be learned by heart, half of them are wrong. The other attack is
augmentation consistency (Choquette-Choo et al. 2021, arXiv:2007.14321): how sure the model stays of mirrored and
shifted images. Its AUC is compared with LiRA's over models that were trained for ever longer.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from relay.privacy import controls, evidence
from relay.privacy.auditing import card_of
from relay.seeds import derive, generator

SIDE, EACH, WRONG = 16, 10, 0.6
STEPS = (3, 8, 20, 60)
Drawn = Callable[[int], tuple[Tensor, Tensor]]
"""For a seed, images and labels of thirty patients, one each: members, others, and those of a third group."""


def lungs(folder: Path) -> Drawn:
    """Chest X-rays of one image for each patient, with their masks."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "cxr_lungs/italy/image").glob("*.png")):
        found.setdefault(path.name.split("_")[0], path)
    images = torch.stack([_image(path, "L") for path in found.values()]) / 127.5 - 1
    masks = [_image(path.parents[1] / "mask" / path.name, "L", Image.Resampling.NEAREST) for path in found.values()]
    labels = (torch.stack(masks)[:, 0] > 0).long()
    return lambda seed: _drawn(images, labels, seed)


def cells(folder: Path) -> Drawn:
    """White blood cells and their types; no patients are known, so each image counts as one."""
    root = folder / "wbc_types/isfahan"
    rows = list(csv.DictReader((root / "labels.csv").open()))
    types = sorted({row["type"] for row in rows})
    paths = {path.stem: path for path in (root / "image").glob("*.png")}
    images = torch.stack([_image(paths[Path(row["id"]).stem], "RGB") for row in rows]) / 127.5 - 1
    rng = generator(0, "wrong labels")
    told = [int(rng.integers(len(types))) if rng.random() < WRONG else types.index(row["type"]) for row in rows]
    labels = torch.tensor(told)
    return lambda seed: _drawn(images, labels, seed)


def _image(path: Path, mode: str, how: Image.Resampling = Image.Resampling.BILINEAR) -> Tensor:
    with Image.open(path) as opened:
        small = np.asarray(opened.convert(mode).resize((SIDE, SIDE), how), np.float32)
    return torch.from_numpy(np.atleast_3d(small)).movedim(-1, 0)


def _drawn(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.from_numpy(generator(seed, "draw").permutation(len(images))[: 3 * EACH])
    return images[order], labels[order]


def synthetic(dense: bool) -> Drawn:
    """The controls' own images."""
    return lambda seed: controls._data(seed, dense, 3 * EACH)


def flagged(drawn: Drawn, seed: int, leaks: bool) -> bool:
    """What the audit says of a model trained on the members, or on the third group."""
    image, label = drawn(seed)
    chosen = slice(0, EACH) if leaks else slice(2 * EACH, 3 * EACH)
    target = controls.fitted(image[chosen], label[chosen], derive(seed, "target"))
    scores = controls.attacked(target, image[: 2 * EACH], label[: 2 * EACH], seed)
    member = np.arange(2 * EACH) < EACH
    return card_of(scores, {}, member, controls.SHADOWS, 1.0, seed).verdict(controls.LIMIT) == "leaks"


def agreement(drawn: Drawn, seeds: int) -> Iterator[tuple[int, float, float]]:
    """For each length of training: the mean AUC of LiRA, and of augmentation consistency."""
    member = np.arange(2 * EACH) < EACH
    for steps in STEPS:
        lira, other = [], []
        for seed in range(seeds):
            image, label = (part[: 2 * EACH] for part in drawn(seed))
            target = controls.fitted(image[:EACH], label[:EACH], derive(seed, "target"), steps)
            lira.append(evidence.auc(controls.attacked(target, image, label, seed, steps)["model", "lira"], member))
            other.append(evidence.auc(_consistency(target, image, label), member))
        yield steps, float(np.mean(lira)), float(np.mean(other))


def _consistency(model: torch.nn.Module, image: Tensor, label: Tensor) -> np.ndarray:
    """How sure the model stays of mirrored and shifted images."""
    changed = [lambda x: x.flip(-1), lambda x: x.roll(1, -1), lambda x: x.roll(1, -2), lambda x: x]
    losses = [controls._seen(model, change(image), change(label) if label.ndim > 1 else label)[0] for change in changed]
    found: np.ndarray = -np.mean(losses, axis=0)
    return found


def main() -> None:
    """Print both tables as Markdown, and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cxr_lungs and wbc_types")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sets = {"synthetic, segmentation": synthetic(True), "synthetic, classification": synthetic(False)}
    if given.data:
        sets |= {"cxr_lungs, segmentation": lungs(given.data), "wbc_types, classification": cells(given.data)}
    rates, ranks = {}, {}
    print("| set | overfitted on ten: flagged | trained on others: flagged |\n|---|---|---|")
    for name, drawn in sets.items():
        hits, false = (sum(flagged(drawn, seed, leaks) for seed in range(given.seeds)) for leaks in (True, False))
        rates[name] = {"power": hits / given.seeds, "size": false / given.seeds}
        print(f"| {name} | {hits} of {given.seeds} | {false} of {given.seeds} |", flush=True)
    lengths = ", ".join(map(str, STEPS))
    print(f"\n| set | AUC of LiRA after {lengths} steps | of consistency | rank correlation |\n|---|---|---|---|")
    for name, drawn in sets.items():
        _, lira, other = zip(*agreement(drawn, max(3, given.seeds // 4)), strict=True)
        ranks[name] = {"lira": lira, "consistency": other, "spearman": float(spearmanr(lira, other).statistic)}
        told = (" ".join(f"{value:.2f}" for value in values) for values in (lira, other))
        print(f"| {name} | {' | '.join(told)} | {ranks[name]['spearman']:.2f} |", flush=True)
    if given.out:
        given.out.write_text(json.dumps({"rates": rates, "ranks": ranks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
