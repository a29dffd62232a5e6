"""Several processes that train one leg together (DDP): who is first, and waiting for each other."""

from __future__ import annotations

import os


def is_first() -> bool:
    """Whether this process is the one that prints and writes; alone, it is."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def wait_for_all() -> None:
    """All processes of a fit meet here; alone, nothing happens."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
