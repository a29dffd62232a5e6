"""``last.ckpt``: a finished leg's solver on this machine, read with ``weights_only=True``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relay.errors import UserError
from relay.files import write_bytes

FORMAT = 2


def save(path: Path, solver: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the weights and the facts about them (plain JSON values), whole or not at all."""
    data = io.BytesIO()
    torch.save(
        {"format": FORMAT, "solver": {k: v.detach().cpu() for k, v in solver.items()}, "facts": dict(facts)},
        data,
    )
    write_bytes(path, data.getvalue())


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights, on the CPU, and the facts.

    Raises:
        UserError: there is no such file, or it is not one of :func:`save`'s.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint {path}", "Train the leg first, or check -c and -n.") from error
    except Exception as error:  # torch's reader raises whatever a damaged file leads it to
        raise UserError(f"{path} can't be read: {error}", "Restore the file, or train the leg again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or "solver" not in content:
        raise UserError(
            f"{path} is not a checkpoint of this program (format {FORMAT})", "Give a last.ckpt that it wrote."
        )
    return content["solver"], content["facts"]
