"""What the benchmarks share: the demo's first leg, ready to be fitted, where it is fitted, and medians.

``BENCH_GPU=0`` in the environment measures on that GPU what is otherwise measured on the CPU.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from relay.config import choose, locate, read
from relay.data import SiteData, prepare
from relay.leg import task_of
from relay.phase import Phase
from relay.plan import Leg, plan

BATCH = 16
DEVICES, _wrong = choose(os.environ.get("BENCH_GPU"))
if _wrong:
    sys.exit(f"BENCH_GPU={_wrong[0].value}: {_wrong[0].allowed}")


def now() -> float:
    """Seconds: of processor time on a CPU, so that what else the machine does matters little; on a clock with a GPU."""
    if DEVICES.accelerator == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def first_leg(*overrides: str) -> Leg:
    """The first leg of the demo's study."""
    path, name = locate("demo")
    settings = [f"common.train.batch_size={BATCH}", "common.train.check_val_every_n_epoch=1000", *overrides]
    return plan(read(path, settings), name).legs[0]


def site_of(leg: Leg) -> SiteData:
    """Its images."""
    return prepare(leg.pool[0], leg.conf.random_seed)


def model_of(leg: Leg) -> Any:
    """Its net as a leg builds it, from a fixed seed."""
    from relay.leg import memory_format

    torch.manual_seed(0)
    return leg.net.build().to(memory_format=memory_format(leg))


def phase_of(leg: Leg, model: Any) -> tuple[Phase, Any]:
    """The leg's only phase, and its criterion."""
    criterion = leg.loss.build(leg.data.num_classes)
    leg.strategy.setup(model, criterion, task_of(leg))
    leg.strategy.receive(None)
    return leg.strategy.phases()[0], criterion


def scratch() -> Path:
    """A folder that is thrown away."""
    return Path(tempfile.mkdtemp(prefix="relay-bench-"))


def report(what: str, ratios: list[float], target: str) -> None:
    """The median of the ratios, and how far they spread."""
    low, middle, high = min(ratios), median(ratios), max(ratios)
    print(f"{what}: {middle:.3f} (from {low:.3f} to {high:.3f} over {len(ratios)} pairs; target: {target})")
    sys.stdout.flush()
