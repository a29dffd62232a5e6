"""The state that an unfinished phase resumes from: written whole, checked when it is read, the one before kept.

``phase_1_learn.ckpt`` is the newest; ``phase_1_learn.old.ckpt`` the one before, from which the phase goes on where the
newest was damaged: it comes to the same weights, some steps later.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from relay.errors import UserError
from relay.files import damaged, write_bytes

log = logging.getLogger(__name__)
NEEDED = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "callbacks"}


def before(path: Path) -> Path:
    """Where the state before the newest one is."""
    return path.with_name(f"{path.stem}.old{path.suffix}")


def newest(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest state of a phase that is whole, and its file; None where none was saved.

    Raises:
        UserError: there are some, and none is whole.
    """
    why = None
    for state in (path, before(path)):
        try:
            return state, read(state)
        except FileNotFoundError:
            continue
        except UserError as error:
            log.warning("%s; going on from the state before it, if there is one", error)
            why = why or error
    if why is not None:
        raise why
    return None


def read(path: Path) -> dict[str, Any]:
    """A state, on the CPU.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged.
    """
    phase = path.stem.removesuffix(".old")
    again = f"Remove {path.with_name(phase)}*{path.suffix} to train this phase again."
    content = read_zip(path, again)
    if not isinstance(content, dict) or (lacks := sorted(NEEDED - content.keys())):
        raise damaged(path, f"it has no {', '.join(lacks) if isinstance(content, dict) else 'state'}", again)
    return content


def read_zip(path: Path, again: str) -> Any:
    """What ``torch.save`` has written, on the CPU, once its checksums were compared: torch's reader doesn't.

    Raises:
        FileNotFoundError, PermissionError: there is no such file, or you may not read it.
        UserError: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as whole:
            if (bad := whole.testzip()) is not None:
                raise ValueError(f"the checksum of {bad} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise  # the file may be whole
    except Exception as error:  # torch's reader raises whatever a damaged file leads it to
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise damaged(path, first, again) from error


def saved(content: Mapping[str, Any]) -> memoryview:
    """The bytes of a file for :func:`read_zip`. In memory first: on a full disk torch's own writer says no cause."""
    data = io.BytesIO()
    torch.save(dict(content), data)
    return data.getbuffer()


class StateIO(CheckpointIO):
    """How Lightning's Trainer writes and reads a state."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it whole; the one before is kept."""
        write_bytes(Path(path), saved(checkpoint), before(Path(path)))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read it, on the CPU."""
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove it, and the one before."""
        for state in (Path(path), before(Path(path))):
            state.unlink(missing_ok=True)
