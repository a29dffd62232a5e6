"""Several processes that train one leg together (DDP): who is first, and waiting for each other."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the one that prints and writes; alone, it is."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


def gather(own: T) -> list[T]:
    """What each process of a fit has, in their order; alone, what this one has."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    found: list[T] = [own] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found


def wait_for_all() -> None:
    """All processes of a fit meet here; alone, nothing happens."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
