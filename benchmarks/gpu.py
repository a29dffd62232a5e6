"""What only a GPU can show: that a leg there is a leg on the CPU, and that no step of it waits for the GPU.

    BENCH_GPU=0 python benchmarks/gpu.py [TRACE]

``make bench-gpu`` runs it, and every ratio of a step on the GPU. ``TRACE`` is a file for a profile of a few
steps, which Chromium shows under ``chrome://tracing``.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from setting import DEVICES, scratch
from style import incoming, leg_of, model_of, site_of

from relay.config import Devices
from relay.handover import Handover
from relay.leg import Learner, device_of, fit, task_of, training_of

STEPS, WARM = 30, 10
PLAIN = ("common.train.optimizer={name: SGD, kwargs: {lr: 0.01}}", "common.train.precision=32")
RELAY = ("common.strategy.name=relay", "common.strategy.kwargs={experts: false}")
WAITS = "called a synchronizing CUDA operation"


class Waits(pl.Callback):
    """Counts the operations of each step, without its first ones, for which the host waits."""

    def __init__(self, trace: Path | None) -> None:
        self.found: list[str] = []
        self.trace, self._caught, self._profile = trace, warnings.catch_warnings(record=True), None

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == WARM:
            torch.cuda.set_sync_debug_mode("warn")
            self._seen = self._caught.__enter__()
            warnings.simplefilter("always")
            if self.trace:
                self._profile = torch.profiler.profile(with_stack=True)
                self._profile.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == STEPS - 1:
            torch.cuda.set_sync_debug_mode("default")
            self._caught.__exit__(None, None, None)
            self.found = [f"{w.filename}:{w.lineno}" for w in self._seen if WAITS in str(w.message)]
            if self._profile:
                self._profile.stop()
                self._profile.export_chrome_trace(str(self.trace))


def trained(handover: Handover, devices: Devices, *watch: pl.Callback) -> dict[str, torch.Tensor]:
    """The weights after a few steps of the demo's second leg under ``relay``."""
    leg, folder = leg_of(*RELAY, *PLAIN), scratch()
    site, model = site_of(leg), model_of(leg)
    criterion, device = leg.loss.build(leg.data.num_classes), device_of(devices)
    training = training_of(leg, [site], model, device, len(site.train))
    leg.strategy.setup(model, criterion, task_of(leg))
    leg.strategy.receive(handover)
    leg.strategy.begin(training)
    for phase in leg.strategy.phases():
        fit(
            Learner(leg, phase, [site], STEPS, companions=(criterion,)),
            folder / "state.ckpt",
            folder / "curves",
            devices,
            [*watch, *phase.callbacks],
        )
    shutil.rmtree(folder)
    return {name: weight.detach().cpu() for name, weight in model.state_dict().items() if weight.is_floating_point()}


def main() -> None:
    """Print which GPU it is, how far its weights are from the CPU's, and where steps wait."""
    if DEVICES.accelerator == "cpu":
        sys.exit("Name a GPU: BENCH_GPU=0 python benchmarks/gpu.py")
    print(f"{torch.cuda.get_device_name(device_of(DEVICES))}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    handover = incoming(*RELAY)
    waits = Waits(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    there, here = trained(handover, DEVICES, waits), trained(handover, Devices())
    moved = max(float((here[name] - weight).abs().max()) for name, weight in handover.model.items() if name in here)
    apart = max(float((here[name] - weight).abs().max()) for name, weight in there.items())
    print(f"weights after {STEPS} steps, GPU against CPU: {apart / moved:.1e} of their change (target: at most 1e-2)")
    print(f"operations in {STEPS - 1 - WARM} steps for which the host waits: {len(waits.found)} (target: none)")
    for place in sorted(set(waits.found)):
        print(f"  {place}: {waits.found.count(place)}")


if __name__ == "__main__":
    main()
