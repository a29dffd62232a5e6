"""Which GPUs this machine has. This asks the driver directly, so that checking a config need not import torch."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass, field

from relay.errors import Problem, UserError

LAUNCHERS = {"SLURM_NTASKS", "TORCHELASTIC_RUN_ID"}
"""Variables of launchers, srun and torchrun, that say in their own way where machines meet."""
NUMBERS = "comma-separated GPU numbers, such as 0 or 0,1"


def _nodes() -> int:
    """Number of machines that train together: ``NUM_NODES``, else what Slurm says, else 1.

    Raises:
        UserError: the variable is not a valid number, or nothing says where the machines meet.
    """
    for name in ("NUM_NODES", "SLURM_NNODES"):
        if given := os.environ.get(name):
            if not (given.isascii() and given.isdecimal() and 1 <= len(given) <= 5 and int(given) >= 1):
                raise UserError(
                    f"the environment variable {name} is {given[:40]!r}; it must be a number of machines, 1 or more",
                    f"Set it to that number, or remove it to train on this machine alone: unset {name}",
                )
            if name == "NUM_NODES" and int(given) > 1 and not LAUNCHERS & os.environ.keys():
                _check_meeting(int(given))
            return int(given)
    return 1


def _check_meeting(machines: int) -> None:
    """Check where several machines meet, and which of them this is: torch would wait for hours.

    Raises:
        UserError: it lists what is missing or wrong.
    """
    allowed = {
        "MASTER_ADDR": "the address of the first machine",
        "MASTER_PORT": "a free port of it, 1 to 65535, the same on all",
        "NODE_RANK": f"this machine's number, 0 to {machines - 1}, another one on each",
    }
    given = {name: os.environ.get(name, "") for name in allowed}
    numbers = {name: int(text) for name, text in given.items() if text.isascii() and text.isdecimal() and len(text) < 6}
    right = {
        "MASTER_ADDR": bool(given["MASTER_ADDR"].strip()),
        "MASTER_PORT": 1 <= numbers.get("MASTER_PORT", 0) <= 65535,
        "NODE_RANK": numbers.get("NODE_RANK", machines) < machines,
    }
    if wrong := [name for name, fits in right.items() if not fits]:
        told = "; ".join(f"{name} is {given[name][:40]!r} and must be {allowed[name]}" for name in wrong)
        advice = f"Set {', '.join(wrong)} on each machine; or train on this machine alone: unset NUM_NODES"
        raise UserError(f"NUM_NODES is {machines}, but the environment variable {told}", advice)


@dataclass(frozen=True)
class Devices:
    """Arguments for Lightning's Trainer: ``accelerator``, ``devices`` and ``num_nodes``.

    On several nodes, start the command on each with Lightning's variables (``MASTER_ADDR``, ``MASTER_PORT``,
    ``NODE_RANK``) and ``NUM_NODES``.
    """

    accelerator: str = "cpu"
    devices: list[int] | int = 1
    num_nodes: int = field(default_factory=_nodes)

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return self.num_nodes * (self.devices if isinstance(self.devices, int) else len(self.devices))

    def unfit(self, precision: object) -> str | None:
        """Why these devices can't train in a precision; None if they can. No other precision is substituted."""
        if precision == 16 and self.accelerator == "cpu":
            return "16-bit floats need a GPU (-g 0); on the CPU use bf16, or 32"
        return None


def visible_gpus() -> int:
    """The number of CUDA devices the driver shows to this process; 0 without a driver."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return 0
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def choose(gpus: str | None) -> tuple[Devices, list[Problem]]:
    """The devices that ``-g`` selects: absent or empty for the CPU, ``0`` or ``0,1`` for those GPUs."""
    if not gpus:
        return Devices(), []
    words = [part.strip() for part in gpus.split(",")]
    wanted = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) < 5]
    if len(wanted) < len(words):
        return Devices(), [Problem("-g", gpus, f"must be {NUMBERS}; leave out -g to use the CPU")]
    there = visible_gpus()
    missing = [g for g in wanted if not 0 <= g < there]
    if missing:
        have = f"GPUs 0 to {there - 1} are here" if there else "no GPU is visible here"
        return Devices(), [
            Problem("-g", gpus, f"{have}; leave out -g to use the CPU, or check the driver (nvidia-smi)")
        ]
    if len(set(wanted)) != len(wanted):
        return Devices(), [Problem("-g", gpus, "names a GPU twice")]
    return Devices("gpu", wanted), []
