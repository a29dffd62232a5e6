"""Runs of several strategies as tables in Markdown; what each column means is said in :data:`NOTE`.

A run is what ``evidence.execute`` returns. Two runs are compared where they have the same seed and the same order of
sites; one that does not depend on the order goes with all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean, median, stdev
from typing import Any, TypeAlias

Run: TypeAlias = Mapping[str, Any]

NONE = "–"
CLEAR = 0.01
COLUMNS = "strategy", "runs", "Dice", "to joint, worst run", "to local, worst site", "forgetting", "gap closed"
COST = "KiB", "time"
NOTE = f"""\
- Dice: at the end, mean over classes, then over sites (local: each site's own model). Mean ± sd over runs, which are
  orders × seeds; seeds alone for local and joint.
- To joint, worst run: lowest difference to joint of the same seed.
- To local, worst site: difference to local of the same seed, mean over runs; of the site where that is lowest.
- Forgetting: loss on earlier sites against the best score since they were trained on.
- Gap closed: (x − sequential) / (joint − sequential), of the means; in brackets the mean over single runs, without
  those where joint is not {CLEAR} ahead.
- KiB: all memories in the last bundle, beside the solver. Time: of training, over sequential's; median over runs."""


def report(runs: Sequence[Run]) -> str:
    """All tables of a study's runs."""
    by = {
        label: [run for run in runs if run["label"] == label] for label in dict.fromkeys(run["label"] for run in runs)
    }
    lines = table([*COLUMNS, *COST], [summary(label, by) for label in by])
    return "\n".join([*lines, "", NOTE, "", *sites(by)]) if by else "nothing has been run yet"


def summary(label: str, by: Mapping[str, Sequence[Run]]) -> list[str]:
    """A row of the first table."""
    own, local, sequential, joint = (by.get(name, ()) for name in (label, "local", "sequential", "joint"))
    below = [run["mean"] - other["mean"] for run, other in pairs(own, joint)]
    times = [run["seconds"] / other["seconds"] for run, other in pairs(own, sequential) if other["seconds"]]
    return [
        label,
        str(len(own)),
        spread([run["mean"] for run in own]),
        f"{min(below):+.3f}" if below else NONE,
        worst_site(own, local),
        spread([run["forgetting"] for run in own if run["forgetting"] is not None]),
        gap(own, sequential, joint),
        f"{max(run['bytes'] for run in own) / 1024:.1f}",
        f"{median(times):.2f}" if times else NONE,
    ]


def sites(by: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """The second table: Dice of each site at the end."""
    names = sorted({name for runs in by.values() for run in runs for name in run["final"]})
    rows = [[label, *(spread([run["final"][name] for run in runs]) for name in names)] for label, runs in by.items()]
    return table(["strategy", *names], rows)


def pairs(some: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    """The runs that can be compared."""

    def alike(a: Run, b: Run) -> bool:
        return a["seed"] == b["seed"] and (not a["order"] or not b["order"] or list(a["order"]) == list(b["order"]))

    return [(a, b) for a, b in product(some, others) if alike(a, b)]


def gap(own: Sequence[Run], sequential: Sequence[Run], joint: Sequence[Run]) -> str:
    """How much of the gap is closed: of the means, and the mean over single runs."""
    found = [(a["mean"], b["mean"], c["mean"]) for a, b in pairs(own, sequential) for _, c in pairs([b], joint)]
    if not found:
        return NONE
    x, low, high = (fmean(column) for column in zip(*found, strict=True))
    single = [(x - low) / (high - low) for x, low, high in found if high - low >= CLEAR]
    whole = f"{(x - low) / (high - low):.0%}" if high - low >= CLEAR else NONE
    return f"{whole} ({fmean(single):.0%})" if single else whole


def worst_site(own: Sequence[Run], local: Sequence[Run]) -> str:
    """The site that is worst off against its own model, and by how much."""
    matched = pairs(own, local)
    if not matched:
        return NONE
    lead = {site: fmean(a["final"][site] - b["final"][site] for a, b in matched) for site in matched[0][0]["final"]}
    worst = min(lead, key=lambda site: lead[site])
    return f"{lead[worst]:+.3f} ({worst})"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else NONE
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of Markdown; numbers to the right."""
    for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows):
        yield "| " + " | ".join(cells) + " |"
