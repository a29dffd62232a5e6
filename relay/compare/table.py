"""A comparison's runs as one table, and the tests between strategies.

Two runs are compared if they have the same seed and the same order of sites; one that does not depend on the order is
compared with all. What was not measured is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import median, stdev
from typing import Any

import numpy as np

from relay.compare.compared import ComparedRun, Groups, pairs
from relay.compare.gains import gain, lowest_pair
from relay.measures import AT_HOME, ELSEWHERE, EVERYWHERE
from relay.results import forward, gaps, mean
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
from relay.tasks import Task

RULE = (
    "{score}: mean over test images{groups}, then over runs (orders and seeds) and sites. At home: each site's own "
    "patients, with the model that it uses for them at the end: the one it adopted, its own where every leg starts "
    "from nothing, else the last leg's. Everywhere: all sites' test images, with one model, the "
    "last leg's (its experts' vote, if it has experts); where every leg starts from nothing, the mean over the sites' "
    "models. Elsewhere: the same model on test images of sites that took no part: data sets that no leg trains on, "
    "and sites left out in turn. Best single: of the sites' own models the one that is best there, which is only known "
    "afterwards. Differences are to local at "
    "home, to joint everywhere and elsewhere, over runs that go together: their mean, and the site where it is "
    "lowest; above 0 is better. "
    "Generalist: the one net alone, if experts vote. Mean and sd are at home. "
    f"Interval: 95 % of that mean, bootstrap over patients, drawn within each site, {RESAMPLES} resamples, BCa; where "
    f"a site has fewer than {MIN_PATIENTS} patients Student's t with a jackknife over patients, fewer than {FEWEST} "
    "none; it is about these models on other patients. Runs are compared where seed and order are the same. "
    "Forgetting, backward: mean over runs, of the last leg's model. Forward: mean over sites of (score before the "
    "site's first leg - local's own model), mean over runs. Gap closed: (x - sequential) / (joint - sequential), of "
    "the means everywhere; missing where joint is not 0.01 (of an error, 1 %) ahead. Cost: seconds of training over "
    "sequential's, median over runs. Bytes: of all memories and experts beside the model in the last handover, the "
    "most of all runs."
)
TESTS = (
    "Tests: each strategy's {score} at home against that of {reference}, as in the table, over the runs that go "
    "together; above 0 is better. A permutation test, two-sided: the strategies are exchanged for whole patients (all "
    f"their images, classes and runs) within their site, in all ways or in {PERMUTATIONS} random ones; "
    f"Holm's correction over "
    f"{{count}}; fewer than {MIN_PAIRS} patients have no p. Interval of the difference: as that of the mean. Effect: "
    "the difference as a share of all that patients differ by, from -1 (worse for every patient) to 1 (better for "
    "every one). Site by site: the same of each site alone, with a Holm's correction of their own."
)


def rule(task: Task | type[Task]) -> str:
    """:data:`RULE` for a task."""
    if task.fewest is None:
        groups = ""
    elif task.background:
        groups = ", then over the classes except the background"
    else:
        groups = f", then over the {task.counted}"
    score = task.score_name
    return RULE.replace("{score}", f"{score[0].upper()}{score[1:]}").replace("{groups}", groups)


def beside(run: ComparedRun, by: Groups) -> ComparedRun:
    """Add the comparisons with local and joint of the same seed: ``forward``, ``to_local`` (at home), ``to_joint``
    (everywhere), ``elsewhere_to_joint``."""
    joint, local = ([other for _, other in pairs([run], by.get(name, ()))] for name in ("joint", "local"))
    lone = local[0].of(AT_HOME) if local else None
    more = {
        "forward": math.nan if run.alone else forward(run.summary["matrix"], run.trained, lone, run.task),
        "to_local": gaps(run.of(AT_HOME), lone, run.task) if lone else {},
        "to_joint": gaps(run.of(EVERYWHERE), joint[0].of(EVERYWHERE), run.task) if joint else {},
        "elsewhere_to_joint": gaps(run.of(ELSEWHERE), joint[0].of(ELSEWHERE), run.task) if joint else {},
    }
    return replace(run, summary={**run.summary, **more})


def row(label: str, by: Groups, away: Groups | None = None) -> dict[str, Any]:
    """A strategy's row, as defined in :data:`RULE`.

    Args:
        away: from :func:`relay.compare.gains.away`.
    """
    own, left = by[label], away or {}
    every = [*own, *left.get(label, ())]
    local, sequential = (pairs(own, by.get(name, ())) for name in ("local", "sequential"))
    joint = pairs(every, [*by.get("joint", ()), *left.get("joint", ())])
    means = [run.summary["mean"] for run in own if not math.isnan(run.summary["mean"])]
    about = interval_of(label, own)
    ratios = [a.summary["seconds"] / b.summary["seconds"] for a, b in sequential if b.summary["seconds"] > 0]
    return {
        "strategy": label,
        "runs": len(own),
        AT_HOME: gain(AT_HOME, own, local),
        EVERYWHERE: gain(EVERYWHERE, own, joint),
        ELSEWHERE: gain(ELSEWHERE, every, joint),
        "generalist": {
            name: found
            for name in (EVERYWHERE, ELSEWHERE)
            if (found := gain(name, every, joint, "generalist"))["sites"]
        },
        "worst_pair": lowest_pair(own),
        "mean": mean(means),
        "sd": stdev(means) if len(means) > 1 else math.nan,
        "low": about.low,
        "high": about.high,
        "method": about.method,
        "forgetting": mean(run.summary["forgetting"] for run in own),
        "backward": mean(run.summary["backward"] for run in own),
        "forward": mean(run.summary["forward"] for run in own),
        "gap_closed": _gap(own, by),
        "cost": median(ratios) if ratios else math.nan,
        "bytes": max((run.summary["bytes"] for run in own), default=math.nan),
    }


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
    """The share of the gap from sequential to joint that is closed everywhere, over comparable runs."""
    sequential, joint = by.get("sequential", ()), by.get("joint", ())
    found = [(a, b, c) for a, b in pairs(own, sequential) for _, c in pairs([b], joint)]
    x, low, high = (mean(mean(three[place].of(EVERYWHERE).values()) for three in found) for place in range(3))
    ahead = bool(own) and own[0].task.gain(high, low) >= own[0].task.clear(low)
    return (x - low) / (high - low) if ahead else math.nan


def _gained(test: dict[str, Any], up: bool) -> dict[str, Any]:
    """A test's difference as a gain: of an error, the other way round."""
    if up:
        return test
    return test | {
        "difference": -test["difference"],
        "low": -test["high"],
        "high": -test["low"],
        "effect": -test["effect"],
    }


def against(by: Groups, reference: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each strategy against the reference, as defined in :data:`TESTS`: over all sites, and site by site."""
    whole, single = [], []
    for label, runs in by.items():
        both = pairs(runs, by.get(reference, ()))
        if label == reference or not both:
            continue
        parts, join = _cells([*(a for a, _ in both), *(b for _, b in both)], len(both))
        names, seed = {"a": label, "b": reference}, derive(0, "compare", label, reference)
        up = both[0][0].task.primary.higher_is_better
        whole.append(names | _gained(asdict(paired(list(parts.values()), join, seed)), up))
        single += [names | {"site": site} | _gained(asdict(paired([p], join, seed)), up) for site, p in parts.items()]
    return _corrected(whole), _corrected(single)


def _corrected(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Apply Holm's correction over all of these tests."""
    return [{**test, "p_holm": p} for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True)]
