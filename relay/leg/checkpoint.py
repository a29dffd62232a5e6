"""``last.ckpt``: a finished leg's model on this machine, read with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from relay.errors import UserError
from relay.files import write_bytes
from relay.leg.state import read_zip, saved

FORMAT = 2


def save(path: Path, model: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the weights and the facts about them (plain JSON values), completely or not at all."""
    weights = {k: v.detach().cpu() for k, v in model.items()}
    write_bytes(path, saved({"format": FORMAT, "model": weights, "facts": dict(facts)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights, on the CPU and mapped from the file, and the facts.

    Raises:
        UserError: there is no such file, or :func:`save` did not write it.
    """
    again = f"Remove {path.parent} to train this leg again, or restore the file."
    try:
        content = read_zip(path, again, mapped=True)  # a command may have the models of many legs at hand
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint {path}", "Train the leg first, or check -c and -n.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= {"model", "facts"}:
        raise UserError(
            f"{path} is not a checkpoint of this program (format {FORMAT})", "Give a last.ckpt that this program wrote."
        )
    return content["model"], content["facts"]
