"""What a strategy gives the hospitals: the three measures over its runs, and their differences to local and joint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay.compare.compared import ComparedRun, Groups
from relay.measures import ELSEWHERE, best
from relay.results import gaps, lowest, mean, worst
from relay.tasks import Segmentation


def gain(
    name: str,
    runs: Sequence[ComparedRun],
    pairs: Sequence[tuple[ComparedRun, ComparedRun]],
    of: str = "",
) -> dict[str, Any]:
    """A measure of a strategy, and its difference to the baseline's; means over runs, then over sites.

    Args:
        pairs: the runs, each with one of the baseline.
        of: ``generalist`` for that of the one net; the baseline's measure is always its own.
    """

    def values(run: ComparedRun) -> Mapping[str, float]:
        found: Mapping[str, float] = (run.summary["measures"][of] if of else run.summary["measures"]).get(name, {})
        return found

    sites = _over_runs([values(run) for run in runs])
    task = runs[0].task if runs else Segmentation
    leads = _over_runs([gaps(values(a), b.summary["measures"].get(name, {}), task) for a, b in pairs])
    return {
        "mean": mean(sites.values()),
        "worst": worst(sites, task),
        "difference": mean(leads.values()),
        "lowest": lowest(leads),
        "sites": sites,
    }


def _over_runs(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Site → mean over the runs."""
    sites = dict.fromkeys(site for one in found for site in one)
    return {site: mean(one.get(site, math.nan) for one in found) for site in sites}


def lowest_pair(runs: Sequence[ComparedRun]) -> Mapping[str, Any] | None:
    """The model and the site where any run is worst; None unless each site trains alone."""
    pairs: list[Mapping[str, Any]] = [pair for run in runs if (pair := run.summary["measures"]["worst_pair"])]
    there = [pair for pair in pairs if not math.isnan(pair["value"])]
    return runs[0].task.worst(there, lambda pair: pair["value"]) if there else None


def elsewhere(by: Groups, away: Groups) -> list[dict[str, Any]]:
    """For each site that took no part, whether it was left out, the score of each strategy, and that of the best single
    model (known only afterwards)."""
    every = {label: [*runs, *away[label]] for label, runs in by.items()}
    values = {label: _over_runs([run.of(ELSEWHERE) for run in runs]) for label, runs in every.items()}
    singles = _over_runs(
        [run.summary["measures"]["best_single"] for runs in every.values() for run in runs if run.alone]
    )
    outside = {run.summary["left_out"] for runs in away.values() for run in runs}
    return [
        {
            "site": site,
            "left_out": site in outside,
            "strategies": {label: found.get(site, math.nan) for label, found in values.items()},
            "best_single": singles.get(site, math.nan),
        }
        for site in dict.fromkeys(site for found in values.values() for site in found)
    ]


def away(left: Groups, by: Groups) -> Groups:
    """The runs that left out a site, each with its score at that site alone; and for strategies whose models are each
    trained at one site, the models of the other sites there.

    Args:
        left: the runs that left out a site.
        by: the runs with all sites.
    """
    outside = dict.fromkeys(run.summary["left_out"] for runs in left.values() for run in runs)
    lone = {label: [_others(run, site) for run in by[label] if run.alone for site in outside] for label in by}
    return {label: [*map(_there, runs), *lone[label]] for label, runs in left.items()}


def _there(run: ComparedRun) -> ComparedRun:
    site = run.summary["left_out"]
    values = {site: run.of(ELSEWHERE).get(site, math.nan)}
    single = run.summary["measures"]["generalist"].get(ELSEWHERE, {})
    generalist = {ELSEWHERE: {site: single[site]}} if site in single else {}
    return _left_out(run, site, values, generalist, {})


def _others(run: ComparedRun, site: str) -> ComparedRun:
    """A site as if it had been left out of a run whose models are each trained at one site."""
    legs = zip(run.trained, sorted(run.summary["matrix"]), strict=True)
    values = [run.summary["matrix"][leg].get(site, math.nan) for trained, leg in legs if site not in trained]
    return _left_out(run, site, {site: mean(values)}, {}, {site: best(run.task, values)})


def _left_out(
    run: ComparedRun, site: str, values: Mapping[str, float], generalist: Mapping[str, Any], best: Mapping[str, float]
) -> ComparedRun:
    measures = {ELSEWHERE: values, "generalist": generalist, "best_single": best}
    return replace(run, summary={**run.summary, "left_out": site, "measures": measures})
