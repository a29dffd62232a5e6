"""The state that an unfinished phase resumes from: written atomically, checked on reading, with the previous one kept.

``phase_1_learn.ckpt`` is the newest; ``phase_1_learn.old.ckpt`` the previous one. If the newest is damaged, the phase
resumes from the previous one and reaches the same weights, after repeating some steps.
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

from relay.errors import UserError, first_line
from relay.files import damaged, write_bytes

log = logging.getLogger(__name__)
NEEDED = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "callbacks"}


def before(path: Path) -> Path:
    """The path of the previous state."""
    return path.with_name(f"{path.stem}.old{path.suffix}")


def newest(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest intact state of a phase, and its file; None if none was saved.

    Raises:
        UserError: there are states, but none is intact.
    """
    why = None
    for state in (path, before(path)):
        try:
            return state, read(state)
        except FileNotFoundError:
            continue
        except UserError as error:
            log.warning("%s; resuming from the previous state, if there is one", error)
            why = why or error
    if why is not None:
        raise why
    return None


def latest(path: Path) -> Path | None:
    """The file of a phase's newest state, which may be the one before: a stop may come while a new one takes its place.
    None if there is none."""
    return next((state for state in (path, before(path)) if state.is_file()), None)


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


def read_zip(path: Path, again: str, mapped: bool = False) -> Any:
    """What ``torch.save`` wrote, on the CPU, after comparing its checksums, which torch's reader does not do.

    Args:
        mapped: leave tensors in the file until they are used; the system may then take their memory back.

    Raises:
        FileNotFoundError, PermissionError: the file does not exist, or you may not read it.
        UserError: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as whole:
            if (bad := whole.testzip()) is not None:
                raise ValueError(f"the checksum of {bad} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise  # the file may be intact
    except Exception as error:  # a damaged file can make torch's reader raise anything
        first = first_line(error)
        raise damaged(path, first, again) from error


def saved(content: Mapping[str, Any]) -> memoryview:
    """The bytes of a file for :func:`read_zip`. Made in memory first: on a full disk, torch's writer gives no cause."""
    data = io.BytesIO()
    torch.save(dict(content), data)
    return data.getbuffer()


class StateIO(CheckpointIO):
    """How Lightning's Trainer writes and reads a state."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a state atomically, and keep the previous one."""
        write_bytes(Path(path), saved(checkpoint), before(Path(path)))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a state, on the CPU."""
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a state and the previous one."""
        for state in (Path(path), before(Path(path))):
            state.unlink(missing_ok=True)
