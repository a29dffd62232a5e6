"""RAM that the decode-once cache takes for an image, against the bytes of its pixels (image and mask)."""

from __future__ import annotations

import resource
import subprocess
import sys

from setting import report

IMAGES, SIDE, PAIRS = 150, 512, 3


def peak() -> int:
    """Bytes of RAM at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure() -> float:
    """Growth of the process by a store, over its pixels; run in a process of its own."""
    from relay.data import Store
    from relay.registry import find

    synthetic = find("datasets", "synthetic")
    options = synthetic.Options(task_id=1, task_name="bench", num_classes=3, count=IMAGES, size=SIDE)
    dataset = synthetic(options)
    Store(dataset, dataset.samples()[:8])  # what drawing and decoding themselves need
    before = peak()
    store = Store(dataset, dataset.samples())
    return (peak() - before) / store.nbytes


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        print(measure())
    else:
        runs = [
            subprocess.run([sys.executable, __file__, "measure"], check=True, capture_output=True) for _ in range(PAIRS)
        ]
        report("RAM : pixels of the cached images", [float(run.stdout) for run in runs], "about 1")
