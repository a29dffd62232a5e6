"""What TensorBoard shows besides the curves: test images with predictions, the matrix, the settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from relay.config import flat
from relay.data import SiteData
from relay.files import make_folder
from relay.leg.evaluate import Predicted
from relay.numbers import number
from relay.overlay import overlay
from relay.tasks import named

SHOWN = 2
"""How many overlays are shown for each test set."""
FOLDER = "results"


def log_predictions(found: Iterable[Predicted], site: SiteData, folder: Path, leg: int) -> Iterable[Predicted]:
    """Pass predictions on, and draw the first few.

    Args:
        folder: the leg's curves.
        leg: its number, used as the step.
    """
    make_folder(folder)  # the writer itself would let others read it
    with SummaryWriter(str(folder)) as writer:
        for number, predicted in enumerate(found):
            if number < SHOWN and predicted.mask is not None:
                image = site.view(predicted.sample)
                drawn = np.asarray(overlay(image, predicted.mask, predicted.truth))
                writer.add_image(f"test/{site.dataset.options.task_name}/{number + 1}", drawn, leg, dataformats="HWC")
            yield predicted


def show_results(root: Path, summary: Mapping[str, Any], config: Mapping[str, Any], figures: Path) -> None:
    """Log the matrix as scalars and text, the report's figures, and the settings with their results.

    These replace earlier ones.

    Args:
        root: of the curves of a run.
        summary: as in ``summary.json``.
        config: of the last leg.
        figures: a folder of PNGs.
    """
    folder, metric = root / FOLDER, named(summary.get("task")).primary.name
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for leg, row in summary["matrix"].items():
            for site, score in row.items():
                if not np.isnan(score):
                    writer.add_scalar(f"{metric}/{site}", score, int(leg))
        writer.add_text("matrix", as_markdown(summary["matrix"]))
        for path in sorted(figures.glob("*.png")):
            with Image.open(path) as image:
                writer.add_image(f"report/{path.stem}", np.asarray(image.convert("RGB")), dataformats="HWC")
        settings = {
            key: value if isinstance(value, int | float | str) else str(value) for key, value in flat(config).items()
        }
        came = {f"result/{name}": summary[name] for name in ("mean", "forgetting") if not np.isnan(summary[name])}
        writer.add_hparams(settings, came, run_name=".")


def as_markdown(matrix: Mapping[Any, Mapping[str, float]]) -> str:
    """One row for each leg, one column for each site; a dash if not measured."""
    sites = list(dict.fromkeys(site for row in matrix.values() for site in row))
    lines = ["| leg | " + " | ".join(sites) + " |", "|---" * (len(sites) + 1) + "|"]
    for leg, row in matrix.items():
        lines.append(f"| {leg} | " + " | ".join(number(row.get(site)) for site in sites) + " |")
    return "\n".join(lines)
