"""The precision that a leg trains in on this machine."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch

from relay.config import Devices
from relay.leg.paths import LegPaths

Ran = Literal[16, 32, 64, "bf16"]
LIGHTNING: dict[Any, Any] = {16: "16-mixed", 32: "32-true", 64: "64-true", "bf16": "bf16-mixed"}
AMPERE = (8, 0)
"""The first compute capability of a GPU that has bf16."""

log = logging.getLogger(__name__)


def has_bf16(devices: Devices) -> bool:
    """Whether all of these devices compute with bf16 themselves. Those that only imitate it take longer than with 32
    bits; False if torch does not know."""
    if isinstance(devices.devices, list):
        return all(torch.cuda.get_device_capability(number) >= AMPERE for number in devices.devices)
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(found() for found in asked if found is not None)


def resolved(precision: Any, devices: Devices) -> Ran:
    """``auto`` as what it is on these devices: ``bf16`` where they have it, else 32. Anything else as it is."""
    if precision != "auto":
        return precision  # type: ignore[no-any-return]
    return "bf16" if has_bf16(devices) else 32


def precision_of(asked: Any, devices: Devices, paths: LegPaths) -> Ran:
    """The precision of a leg, once and for all: a leg that has begun goes on as it began, also on another machine, for
    its weights would otherwise be those of no precision. Every device that is allowed here can do so, if slowly."""
    here = resolved(asked, devices)
    began = paths.record().get("precision", here) if paths.begun else here
    if asked != "auto" or began not in tuple(LIGHTNING):
        return here
    if began != here:
        log.warning("this leg began in the precision %s, so it goes on in it; this machine's own is %s", began, here)
    return began
