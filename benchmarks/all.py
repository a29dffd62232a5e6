"""Run every benchmark and print one table of ratios: python benchmarks/all.py [NAME...]"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    *("startup", "loop", "precision", "data", "cache", "restart", "volumes", "metrics", "report", "page", "style"),
    *("parts", "heap", "leg_end", "flow", "handoff"),
)
LINE = re.compile(r"(.+): ([\d.]+) \(from ([\d.]+) to ([\d.]+) over \d+ pairs; target: (.+)\)")


def rows(name: str) -> list[tuple[str, ...]]:
    """The ratios that one benchmark prints, as rows of the table; a benchmark that fails stops the whole run."""
    print(f"benchmarks/{name}.py …", file=sys.stderr, flush=True)
    said = subprocess.run([sys.executable, HERE / f"{name}.py"], check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said, file=sys.stderr)
    return [(name, *found.groups()) for line in said.splitlines() if (found := LINE.fullmatch(line))]


if __name__ == "__main__":
    names = sys.argv[1:] or NAMES
    if unknown := sorted({*names} - {*NAMES}):
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    table = [row for name in names for row in rows(name)]
    print("| benchmark | ratio | median | lowest | highest | target |\n|---|---|---|---|---|---|")
    for row in table:
        print("| " + " | ".join(row) + " |")
