"""The curves of a leg. When a fit resumes, they are rewound to its saved state, so that no step appears twice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS = "events.out.tfevents.*"


def written(logger: Any) -> dict[str, int]:
    """The current size of each event file of a leg, in bytes, after flushing.

    Args:
        logger: Lightning's TensorBoardLogger, of the process that writes.
    """
    logger.experiment.flush()
    return {path.name: path.stat().st_size for path in Path(logger.log_dir).glob(EVENTS)}


def rewind(folder: Path, sizes: Mapping[str, int]) -> None:
    """Truncate a leg's event files to the sizes from :func:`written`, and remove those it did not list.

    Records are only ever appended to a file, so its first bytes are the same as then.
    """
    for path in folder.glob(EVENTS):
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            os.truncate(path, sizes[path.name])
