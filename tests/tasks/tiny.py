"""Tiny studies without masks: drawn images whose brightness is the class, the labels or the number; a net for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from relay.config import options
from relay.data import Case, Dataset, DatasetOptions, Record
from relay.nets import Net, NetOptions
from tests.studies import TINY

HERE = "tests.tasks.tiny"


@options
class DrawnOptions(DatasetOptions):
    """``shift``: how much brighter this site's images are."""

    shift: int = 0
    count: int = 24


class Drawn(Dataset):
    """8 × 8 pixels; the upper half is bright by the first bit of a number 0 to 3, the lower half by the second."""

    Options = DrawnOptions
    options: DrawnOptions

    def folders(self) -> list[Path]:
        """None."""
        return []

    def samples(self) -> list[Record]:
        """Of one patient each, with the target of the task."""
        return [
            Record(f"s{n:02}", f"p{n:02}", (Path("drawn", str(n)),), self._target(n)) for n in range(self.options.count)
        ]

    def _target(self, n: int) -> Any:
        of = {
            "classification": (n % 4) // 2,
            "multilabel": ((n % 4) // 2, n % 2),
            "regression": float((n % 4) // 2 + n % 2),
        }
        return of[self.options.task]

    def read(self, sample: Record) -> Case:
        """Draw it."""
        n = int(sample.id[1:])
        image = np.random.default_rng(n).integers(0, 20, (8, 8, 1)).astype(np.uint8) + self.options.shift
        image[:4] += np.uint8(100 * ((n % 4) // 2))
        image[4:] += np.uint8(100 * (n % 2))
        return Case(image.astype(np.uint8), self.options.does.target(sample))


class Halves(Net):
    """A linear net on four numbers of a small convolution."""

    Options = NetOptions

    def build(self) -> Any:
        """See :class:`Net`."""
        from torch import nn

        channels, outputs = self.channels()
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((2, 1)),
            nn.Flatten(),
            nn.Linear(8, outputs),
        )


def changes(task: str, **more: Any) -> dict[str, Any]:
    """What makes a study of ``tests.studies`` one of these."""
    classes = {
        "classification": {"num_classes": 2},
        "multilabel": {"num_classes": 2},
        "regression": {"target_scale": [1.0, 0.7]},
    }[task]
    sets = [
        {"kwargs": {"task_id": k, "task_name": f"clinic_{name}", "shift": 20 * k}} for k, name in ((1, "a"), (2, "b"))
    ]
    train = {**TINY["common"]["train"], "num_epochs": 6, "optimizer": {"name": "Adam", "kwargs": {"lr": 0.05}}}
    return {
        "common.dataset": {
            "name": f"{HERE}:Drawn",
            "kwargs": {"task": task, "channels": 1, "img_size": [8, 8], "repeats": 2, **classes},
        },
        "common.model": {"name": f"{HERE}:Halves"},
        "common.train": train,
        "all_tasks_datasets": sets,
        **more,
    }
