"""The precision that a leg trains in on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from relay.config import Devices
from relay.files import damaged
from relay.leg.paths import LegPaths

Ran = Literal[16, 32, 64, "bf16"]
LIGHTNING: dict[Any, Any] = {16: "16-mixed", 32: "32-true", 64: "64-true", "bf16": "bf16-mixed"}
AMPERE = (8, 0)
"""The first compute capability of a GPU that has bf16."""

WIDE = 16
"""Channels from which on a convolution is faster in bf16 on a CPU with AVX-512."""


def has_bf16(devices: Devices) -> bool:
    """Whether all of these devices compute with bf16 themselves. Those that only imitate it take longer than with 32
    bits; False if torch does not know."""
    if isinstance(devices.devices, list):
        return all(torch.cuda.get_device_capability(number) >= AMPERE for number in devices.devices)
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(found() for found in asked if found is not None)


def pays(model: nn.Module, devices: Devices) -> bool:
    """Whether bf16 makes a net faster. On a CPU, a convolution of fewer channels than a register holds is slower in it:
    ``benchmarks/precision.py``."""
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.modules.conv._ConvNd)]
    widths = [max(layer.in_channels, layer.out_channels) // layer.groups for layer in convolutions]
    return devices.accelerator != "cpu" or min(widths, default=WIDE) >= WIDE


def resolved(precision: Any, devices: Devices, model: nn.Module) -> Ran:
    """``auto`` as what it is for this net on these devices: ``bf16`` where they have it and it pays, else 32. Anything
    else as it is."""
    if precision != "auto":
        return precision  # type: ignore[no-any-return]
    return "bf16" if has_bf16(devices) and pays(model, devices) else 32


def precision_of(asked: Any, devices: Devices, model: nn.Module, paths: LegPaths, say: Callable[[str], None]) -> Ran:
    """The precision of a leg, once and for all: a leg that has begun goes on as it began, also on another machine, for
    its weights would otherwise be those of no precision. Every device can do so, if slowly; ``say`` says it then.

    Raises:
        UserError: the record of the leg says that it began in a precision that ``auto`` never is.
    """
    here = resolved(asked, devices, model)
    began = paths.record().get("precision") if paths.begun and asked == "auto" else None
    if began is None:
        return here
    if began not in (32, "bf16"):
        raise damaged(paths.root / "leg.json", f"its precision is {began!r}, which auto never is", paths.again)
    if began != here:
        say(f"this leg began in the precision {began}, so it goes on in it; this machine's own is {here}")
    return began  # type: ignore[no-any-return]
