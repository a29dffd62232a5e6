"""Several processes that train one leg together (DDP): which is the first, and waiting for each other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the one that prints and writes; true for a single process."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


def gather(own: T) -> list[T]:
    """The values of all processes of a fit, in order; for a single process, only its own."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    found: list[T] = [own] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM end the process at once: while it waits in torch for other machines, Python's own
    handlers don't run."""
    ours = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_all() -> None:
    """Wait until all processes of a fit get here; for a single process, do nothing."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
