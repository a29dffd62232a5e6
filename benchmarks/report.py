"""The report of 1 000 test images: 4 sites, 3 classes, 6 metrics, every leg's model; seconds, and MB of the page."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from relay.report import write_report
from tests.report import made

SITES = ("north", "south", "harbour", "hills")
SAMPLES = 1000
SECONDS, MEGABYTES = 10.0, 10.0


def main() -> int:
    """Exit code 1 where a limit is not kept. Each leg's model is tested on all samples of each site."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        root = made.run(Path(folder), SITES, SAMPLES)
        began = time.perf_counter()
        page = write_report(root)
        seconds, megabytes = time.perf_counter() - began, page.stat().st_size / 1e6
    rows = len(SITES) ** 2 * SAMPLES * len(made.CLASSES) * len(made.METRICS)
    print(f"report of {SAMPLES} samples at each of {len(SITES)} sites, {rows:,} rows of results")
    print(f"  time: {seconds:.1f} s (limit {SECONDS:.0f} s)")
    print(f"  page: {megabytes:.2f} MB (limit {MEGABYTES:.0f} MB)")
    return int(seconds > SECONDS or megabytes > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
