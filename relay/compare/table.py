"""A comparison's runs as one table, and the tests between strategies.

Two runs are compared if they have the same seed and the same order of sites; one that does not depend on the order is
compared with all. What was not measured is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from statistics import median, stdev
from typing import Any, TypeAlias

import numpy as np

from relay.results import CLEAR, forward, gaps, mean, worst
from relay.seeds import derive
from relay.statistics import (
    FEWEST,
    MIN_PAIRS,
    MIN_PATIENTS,
    PERMUTATIONS,
    RESAMPLES,
    Floats,
    Interval,
    Join,
    Sums,
    bounds,
    holm,
    paired,
)

Sample: TypeAlias = tuple[str, str, str, str]
"""Site, patient, sample, class."""

RULE = (
    "Dice at the end: mean over test images, then over classes but background, then over the sites of the orders (of "
    "each site's own model, where every leg starts from nothing). Mean and sd are over runs: orders and seeds. "
    f"Interval: 95 % of that mean, bootstrap over patients, drawn within each site, {RESAMPLES} resamples, BCa; where "
    f"a site has fewer than {MIN_PATIENTS} patients Student's t with a jackknife over patients, fewer than {FEWEST} "
    "none; it is about these models on other patients. Runs are compared where seed and order are the same. "
    "Forgetting, backward: mean over runs. Forward: mean over sites of (Dice before the site's first leg - local's own "
    "model), mean over runs. Gap closed: (x - sequential) / (joint - sequential), of "
    f"the means; missing where joint is not {CLEAR} ahead. To joint: of the run where it is lowest. To local: of the "
    "site where it is lowest, mean over runs. Cost: seconds of training over sequential's, median over runs. Bytes: of "
    "all memories beside the model in the last handover, the most of all runs."
)
TESTS = (
    "Tests: each strategy's mean Dice minus that of {reference}, as in the table, over the runs that go together. A "
    "permutation test, two-sided: the strategies are exchanged for whole patients (all their images, classes and runs) "
    f"within their site, in all ways or in {PERMUTATIONS} random ones; Holm's correction over {{count}}; fewer than "
    f"{MIN_PAIRS} patients have no p. Interval of the difference: as that of the mean. Effect: the difference as a "
    "share of all that patients differ by, from -1 (worse for every patient) to 1 (better for every one). Site by "
    "site: the same of each site alone, with a Holm's correction of their own."
)


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        summary: as in ``compare.json``.
        scores: final Dice of each sample and class except background.
        trained: the sites that each leg trained on; empty if legs don't build on each other.
    """

    summary: Mapping[str, Any]
    scores: Mapping[Sample, float]
    trained: Sequence[Sequence[str]] = ()

    def goes_with(self, other: ComparedRun) -> bool:
        """Whether the two can be compared."""
        one, two = self.summary, other.summary
        return one["seed"] == two["seed"] and (not one["order"] or not two["order"] or one["order"] == two["order"])


Groups: TypeAlias = Mapping[str, Sequence[ComparedRun]]


def beside(run: ComparedRun, by: Groups) -> ComparedRun:
    """Add the comparisons with local and joint of the same seed: ``forward``, ``to_joint``, ``to_local``."""
    joint, local = (
        [other.summary["final"] for _, other in _pairs([run], by.get(name, ()))] for name in ("joint", "local")
    )
    more = {
        "forward": forward(run.summary["matrix"], run.trained, local[0] if local else None)
        if run.trained
        else math.nan,
        "to_joint": gaps(run.summary["final"], joint[0]) if joint else {},
        "to_local": gaps(run.summary["final"], local[0]) if local else {},
    }
    return replace(run, summary={**run.summary, **more})


def row(label: str, by: Groups) -> dict[str, Any]:
    """A strategy's row, as defined in :data:`RULE`."""
    own = by[label]
    joint, local, sequential = (_pairs(own, by.get(name, ())) for name in ("joint", "local", "sequential"))
    means = [run.summary["mean"] for run in own if not math.isnan(run.summary["mean"])]
    about = interval_of(label, own)
    site = worst(_to_local(local))
    ratios = [a.summary["seconds"] / b.summary["seconds"] for a, b in sequential if b.summary["seconds"] > 0]
    return {
        "strategy": label,
        "runs": len(own),
        "mean": mean(means),
        "sd": stdev(means) if len(means) > 1 else math.nan,
        "low": about.low,
        "high": about.high,
        "method": about.method,
        "forgetting": mean(run.summary["forgetting"] for run in own),
        "backward": mean(run.summary["backward"] for run in own),
        "forward": mean(run.summary["forward"] for run in own),
        "gap_closed": _gap(own, by),
        "to_joint_worst": min((_apart(a, b) for a, b in joint), default=math.nan),
        "to_local_worst": site["value"],
        "to_local_worst_site": site["site"],
        "cost": median(ratios) if ratios else math.nan,
        "bytes": max((run.summary["bytes"] for run in own), default=math.nan),
    }


def _pairs(some: Sequence[ComparedRun], others: Sequence[ComparedRun]) -> list[tuple[ComparedRun, ComparedRun]]:
    return [(a, b) for a, b in product(some, others) if a.goes_with(b)]


def _apart(a: ComparedRun, b: ComparedRun) -> float:
    return float(a.summary["mean"] - b.summary["mean"])


def interval_of(label: str, runs: Sequence[ComparedRun]) -> Interval:
    """Interval of the mean over samples, classes, runs and sites; patients are resampled with all images and runs."""
    parts, join = _cells(runs, len(runs))
    return bounds(list(parts.values()), join, derive(0, "compare", label))


def _cells(runs: Sequence[ComparedRun], of: int) -> tuple[dict[str, Sums], Join]:
    """Site → of each patient, sum and number of what was measured, a cell a run and class; and the one way in which the
    cells of ``of`` runs become a mean: over classes, then runs, then sites."""
    there = [
        (n, *key, value) for n, run in enumerate(runs) for key, value in run.scores.items() if not math.isnan(value)
    ]
    classes = {name: place for place, name in enumerate(sorted({name for *_, name, _ in there}))}
    parts = {}
    for site in sorted({site for _, site, *_ in there}):
        own = [(n, patient, classes[name], value) for n, where, patient, _, name, value in there if where == site]
        rows = {patient: place for place, patient in enumerate(sorted({patient for _, patient, *_ in own}))}
        total, count = np.zeros((2, len(rows), len(runs), len(classes)))
        for n, patient, name, value in own:
            total[rows[patient], n, name] += value
            count[rows[patient], n, name] += 1
        parts[site] = total.reshape(len(rows), -1), count.reshape(len(rows), -1)

    def join(cells: Floats) -> Floats:
        by_class = cells.reshape(*cells.shape[:-1], of, len(classes))
        return _mean(_mean(_mean(by_class, -1), -2), -1)

    return parts, join


def _mean(values: Floats, axis: int) -> Floats:
    """Mean of the values that are not missing; NaN if there are none."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(there, values, 0.0).sum(axis) / there.sum(axis)
    return means


def _gap(own: Sequence[ComparedRun], by: Groups) -> float:
    """The share of the gap from sequential to joint that is closed, from the means over comparable runs."""
    sequential, joint = by.get("sequential", ()), by.get("joint", ())
    found = [(a, b, c) for a, b in _pairs(own, sequential) for _, c in _pairs([b], joint)]
    x, low, high = (mean(three[place].summary["mean"] for three in found) for place in range(3))
    return (x - low) / (high - low) if high - low >= CLEAR else math.nan


def _to_local(pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> dict[str, float]:
    leads = [gaps(a.summary["final"], b.summary["final"]) for a, b in pairs]
    return {site: mean(lead[site] for lead in leads) for site in (leads[0] if leads else ())}


def against(by: Groups, reference: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each strategy against the reference, as defined in :data:`TESTS`: over all sites, and site by site."""
    whole, single = [], []
    for label, runs in by.items():
        pairs = _pairs(runs, by.get(reference, ()))
        if label == reference or not pairs:
            continue
        parts, join = _cells([*(a for a, _ in pairs), *(b for _, b in pairs)], len(pairs))
        names, seed = {"a": label, "b": reference}, derive(0, "compare", label, reference)
        whole.append(names | asdict(paired(list(parts.values()), join, seed)))
        single += [names | {"site": site} | asdict(paired([part], join, seed)) for site, part in parts.items()]
    return _corrected(whole), _corrected(single)


def _corrected(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Apply Holm's correction over all of these tests."""
    return [{**test, "p_holm": p} for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True)]
