"""The curves of a leg, wound back to a saved state where a fit goes on from it, so that no step is in them twice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS = "events.out.tfevents.*"


def written(logger: Any) -> dict[str, int]:
    """How long each event file of a leg is by now, in bytes, with all that was logged so far in it.

    Args:
        logger: Lightning's TensorBoardLogger, of the process that writes.
    """
    logger.experiment.flush()
    return {path.name: path.stat().st_size for path in Path(logger.log_dir).glob(EVENTS)}


def rewind(folder: Path, sizes: Mapping[str, int]) -> None:
    """Cut a leg's event files to what :func:`written` said; those it did not name go.

    A file only grows, and one record follows another, so that its first bytes are what they were then.
    """
    for path in folder.glob(EVENTS):
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            os.truncate(path, sizes[path.name])
