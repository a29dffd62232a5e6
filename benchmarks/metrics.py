"""All metrics of 100 masks of 256x256 with 3 classes: a plain monai loop against relay's, in one process and in two.

Masks have one region a class, as an optic disc and its cup; predictions are a few pixels off. Both sides give Dice,
HD95, average surface distance and normalised surface Dice of each sample and class; relay's gives sensitivity and
specificity as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy.ndimage import gaussian_filter
from setting import report

from relay.metrics import Measuring, measure

COUNT, SIDE, CLASSES, PAIRS, WORKERS = 100, 256, 3, 5, 2
TOLERANCE, SPACING = 2.0, (0.5, 0.4)
NAMES = ("dice", "hd95", "asd", "nsd")
Maps = list[tuple[np.ndarray, np.ndarray]]


def drawn(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """A wobbly disc of class 1, and one of class 2 inside it."""
    y, x = np.mgrid[:SIDE, :SIDE]
    wobble = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 12)
    away = np.hypot(y - centre[0], x - centre[1]) + 0.08 * radius * wobble / wobble.std()
    return (away < radius).astype(np.uint8) + (away < radius / 2)


def pairs() -> Maps:
    """Predictions and truths."""
    rng, made = np.random.default_rng(0), []
    for _ in range(COUNT):
        centre, radius = rng.uniform(100, 156, 2), rng.uniform(40, 80)
        made.append(
            (drawn(rng, centre + rng.normal(0, 3, 2), radius * rng.uniform(0.9, 1.1)), drawn(rng, centre, radius))
        )
    return made


def monai_loop(maps: Maps) -> np.ndarray:
    """(samples, metrics, classes but background), each metric by its own function."""
    found = []
    for pred, truth in maps:
        p, t = (torch.from_numpy(np.stack([m == c for c in range(CLASSES)])).float()[None] for m in (pred, truth))
        values = (
            compute_dice(p, t, include_background=False),
            compute_hausdorff_distance(p, t, percentile=95, spacing=SPACING),
            compute_average_surface_distance(p, t, symmetric=True, spacing=SPACING),
            compute_surface_dice(p, t, [TOLERANCE] * (CLASSES - 1), spacing=SPACING),
        )
        found.append(torch.cat(values).numpy())
    return np.stack(found)


def ours(maps: Maps) -> np.ndarray:
    """The same, in this process."""
    found = (measure(pred, truth, CLASSES, SPACING, TOLERANCE) for pred, truth in maps)
    return np.array([[values[name][1:] for name in NAMES] for values in found])


def in_workers(measuring: Measuring) -> Callable[[Maps], np.ndarray]:
    """The same, in workers that run already."""

    def measured(maps: Maps) -> np.ndarray:
        jobs = [measuring.submit(pred, truth, CLASSES, SPACING, TOLERANCE) for pred, truth in maps]
        return np.array([[job.result()[name][1:] for name in NAMES] for job in jobs])

    return measured


def timed(work: Callable[[Maps], np.ndarray], maps: Maps) -> tuple[float, np.ndarray]:
    """Seconds, and what it gave."""
    begin = time.perf_counter()
    found = work(maps)
    return time.perf_counter() - begin, found


if __name__ == "__main__":
    maps, worst = pairs(), 0.0
    ratios: dict[str, list[float]] = {"in one process": [], f"in {WORKERS} workers": []}
    with Measuring(WORKERS) as measuring:
        ways = dict(zip(ratios, (ours, in_workers(measuring)), strict=True))
        for work in (monai_loop, *ways.values()):
            work(maps[:8])  # imports, and processes that start
        for _ in range(PAIRS):
            seconds, expected = timed(monai_loop, maps)
            for name, work in ways.items():
                mine, found = timed(work, maps)
                ratios[name].append(seconds / mine)
                worst = max(worst, float(np.abs(found - expected).max()))
    for name, values in ratios.items():
        report(f"samples/s {name} : monai loop", values, "above 1")
    print(f"largest difference of a number: {worst:.1e} (values up to {expected.max():.1f})")
