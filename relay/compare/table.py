"""A comparison's runs as one table, and the tests between strategies.

Two runs are compared where they have the same seed and the same order of sites; one that does not depend on the order
goes with all. What was not measured is missing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median, stdev
from typing import Any, TypeAlias

from relay.results import gaps, mean, worst
from relay.seeds import derive
from relay.statistics import MIN_PAIRS, MIN_PATIENTS, RESAMPLES, holm, interval, paired

Sample: TypeAlias = tuple[str, str, str, str]
"""Site, patient, sample, class."""

CLEAR = 0.01
"""A gap between sequential and joint that is smaller is none, and no part of it can be closed."""
RULE = (
    "Dice at the end: mean over test images, then over classes but background, then over the sites of the orders (of "
    "each site's own model, where every leg starts from nothing). Mean and sd are over runs: orders and seeds. "
    f"Interval: 95 % bootstrap over patients, drawn within each site, {RESAMPLES} resamples, BCa where there are "
    f"{MIN_PATIENTS} patients, else percentile; it is about these models on other patients. Runs are compared where "
    "seed and order are the same. Forgetting: mean over runs. Gap closed: (x - sequential) / (joint - sequential), of "
    f"the means; missing where joint is not {CLEAR} ahead. To joint: of the run where it is lowest. To local: of the "
    "site where it is lowest, mean over runs. Cost: seconds of training over sequential's, median over runs. Bytes: of "
    "all memories beside the solver in the last carry, the most of all runs."
)
TESTS = (
    "Tests: each strategy minus {reference}, one difference a patient (mean over runs, samples and classes that were "
    "measured under both), Wilcoxon signed-rank, two-sided, zeros after Pratt, Holm's correction over {count}; fewer "
    f"than {MIN_PAIRS} patients have no p; effect: matched-pairs rank-biserial correlation."
)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        told: as ``compare.json`` has it.
        scores: Dice at the end of each sample and class but background.
    """

    told: Mapping[str, Any]
    scores: Mapping[Sample, float]

    def goes_with(self, other: Run) -> bool:
        """Whether the two can be compared."""
        one, two = self.told, other.told
        return one["seed"] == two["seed"] and (not one["order"] or not two["order"] or one["order"] == two["order"])


Groups: TypeAlias = Mapping[str, Sequence[Run]]


def row(label: str, by: Groups) -> dict[str, Any]:
    """A strategy's row, as :data:`RULE` says."""
    own = by[label]
    joint, local, sequential = (_pairs(own, by.get(name, ())) for name in ("joint", "local", "sequential"))
    means = [run.told["mean"] for run in own if not math.isnan(run.told["mean"])]
    low, high = _bounds(label, own)
    site = worst(_to_local(local))
    ratios = [a.told["seconds"] / b.told["seconds"] for a, b in sequential if b.told["seconds"] > 0]
    return {
        "strategy": label,
        "runs": len(own),
        "mean": mean(means),
        "sd": stdev(means) if len(means) > 1 else math.nan,
        "low": low,
        "high": high,
        "forgetting": mean(run.told["forgetting"] for run in own),
        "gap_closed": _gap(own, by),
        "to_joint_worst": min((_apart(a, b) for a, b in joint), default=math.nan),
        "to_local_worst": site["value"],
        "to_local_worst_site": site["site"],
        "cost": median(ratios) if ratios else math.nan,
        "bytes": max((run.told["bytes"] for run in own), default=math.nan),
    }


def _pairs(some: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    return [(a, b) for a, b in product(some, others) if a.goes_with(b)]


def _apart(a: Run, b: Run) -> float:
    return float(a.told["mean"] - b.told["mean"])


def _bounds(label: str, runs: Sequence[Run]) -> tuple[float, float]:
    """Interval of the mean over sites: a value for each run and sample, its patients drawn within their site."""
    found: dict[tuple[int, str, str, str], list[float]] = defaultdict(list)
    for number, run in enumerate(runs):
        for (site, patient, sample, _), value in run.scores.items():
            found[number, site, patient, sample].append(value)
    values, patients, sites = [mean(v) for v in found.values()], [k[2] for k in found], [k[1] for k in found]
    bounds = interval(values, patients, derive(0, "compare", label), strata=sites)
    return bounds.low, bounds.high


def _gap(own: Sequence[Run], by: Groups) -> float:
    """How much of the way from sequential to joint; of the means over runs that go together."""
    sequential, joint = by.get("sequential", ()), by.get("joint", ())
    found = [(a, b, c) for a, b in _pairs(own, sequential) for _, c in _pairs([b], joint)]
    x, low, high = (mean(three[place].told["mean"] for three in found) for place in range(3))
    return (x - low) / (high - low) if high - low >= CLEAR else math.nan


def _to_local(pairs: Sequence[tuple[Run, Run]]) -> dict[str, float]:
    leads = [gaps(a.told["final"], b.told["final"]) for a, b in pairs]
    return {site: mean(lead[site] for lead in leads) for site in (leads[0] if leads else ())}


def against(by: Groups, reference: str) -> list[dict[str, Any]]:
    """Each strategy against the reference, as :data:`TESTS` says."""
    found = []
    for label, runs in by.items():
        pairs = _pairs(runs, by.get(reference, ()))
        if label != reference and pairs:
            own, other = (
                {_key(n, s): v for n, p in enumerate(pairs) for s, v in p[side].scores.items()} for side in (0, 1)
            )
            compared = asdict(paired(own, other, derive(0, "compare", label, reference)))
            found.append({"a": label, "b": reference, **compared})
    adjusted = holm([test["p"] for test in found])
    return [{**test, "p_holm": p} for test, p in zip(found, adjusted, strict=True)]


def _key(pair: int, sample: Sample) -> tuple[Any, ...]:
    """A sample in a pair of runs; first whose it is."""
    return (sample[:2], pair, sample[2:])
