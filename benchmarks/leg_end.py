"""What a leg costs besides training: reading, testing, writing the handover; of a whole simulation of CONFIG.

python benchmarks/leg_end.py [CONFIG [KEY=VALUE]...]
"""

from __future__ import annotations

import json
import shutil
import sys

from setting import report, scratch

from relay.config import locate, read
from relay.leg import Progress
from relay.plan import plan
from relay.simulate import Simulation


def main(config: str = "demo", *changes: str) -> None:
    path, name = locate(config)
    folder = scratch()
    simulation = Simulation(plan(read(path, changes), name), folder)
    with Progress(simulation.steps) as progress:
        simulation.run(progress)
    legs = [json.loads(record.read_text()) for record in sorted(folder.glob("checkpoints/*/leg.json"))]
    shares = [leg["seconds"] / leg["train_seconds"] - 1 for leg in legs]
    report(f"{config}: a leg's other time : its training", shares, "at most 0.1, or one pass over the test images")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
