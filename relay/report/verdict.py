"""What a run or a comparison means, in a sentence made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from relay.measures import AT_HOME, ELSEWHERE, EVERYWHERE
from relay.numbers import number, signed
from relay.report.gather import number as as_number
from relay.results import mean, own_legs, worst
from relay.tasks import Task, named

TUNED, POOLED = "fine-tuning from site to site", "pooling all images"


def of_comparison(content: Mapping[str, Any]) -> str:
    """What the reference (``relay``) gives at home, everywhere and elsewhere, and what a lone model gives next door."""
    rows = {str(row["strategy"]): row for row in content["table"]}
    own, lone = rows.get(str(content["reference"])), rows.get("local")
    parts = [*([_home(own)] if own else []), _everywhere(content), *([_outside(own)] if own else [])]
    return " ".join(filter(None, [*parts, next_door({"measures": lone, "task": content.get("task")}) if lone else ""]))


def _home(row: Mapping[str, Any]) -> str:
    difference, low = as_number(row[AT_HOME]["difference"]), row[AT_HOME]["lowest"]
    if row["strategy"] == "local" or math.isnan(difference):
        return ""
    site = f"; lowest at {low['site']} ({signed(low['value'])})"
    return f"At home, {row['strategy']} is {signed(difference)} against each site's own model (local){site}."


def _outside(row: Mapping[str, Any]) -> str:
    value, difference = (as_number(row[ELSEWHERE][key]) for key in ("mean", "difference"))
    if math.isnan(value):
        return ""
    against = "" if row["strategy"] == "joint" or math.isnan(difference) else f", {signed(difference)} against joint"
    return f"Elsewhere, it reaches {number(value)}{against}."


def next_door(summary: Mapping[str, Any]) -> str:
    """How much worse the model of one site is at another; empty unless each site has its own."""
    pair = (summary.get("measures") or {}).get("worst_pair") or {}
    if pair.get("site") is None or pair["model"] == pair["site"]:
        return ""
    where, task = f"{pair['model']}'s at {pair['site']}", named(summary.get("task"))
    fate = "A lone model falls" if task.primary.higher_is_better else f"A lone model's {task.score_name} rises"
    return f"{fate} to {number(pair['value'])} next door ({where})."


def _everywhere(content: Mapping[str, Any]) -> str:
    """Where the reference is between fine-tuning and pooling; if one is missing, compare with the best."""
    means = {str(row["strategy"]): as_number(row[EVERYWHERE]["mean"]) for row in content["table"]}
    there = {name: value for name, value in means.items() if not math.isnan(value)}
    if not there:
        return "No strategy has a result yet."
    wanted, task = str(content["reference"]), named(content.get("task"))
    name = task.score_name
    if wanted not in there:
        best = task.best(there, lambda label: there[label])
        return f"{wanted} has no result; of the others {best} has the best {name} ({number(there[best])})."
    if len(there) == 1:
        return f"{wanted} has a {name} of {number(there[wanted])}; there is no other strategy to compare it with."
    if {"sequential", "joint"} <= there.keys() - {wanted}:
        row = next(row for row in content["table"] if row["strategy"] == wanted)
        closed = as_number(row["gap_closed"])
        return "Everywhere, " + _between(wanted, there[wanted], there["sequential"], there["joint"], closed, task)
    return "Everywhere, " + _against(wanted, there, task)


def _between(name: str, value: float, low: float, high: float, closed: float, task: type[Task]) -> str:
    """``closed`` is from comparable runs, so it may not follow from the means if runs are missing."""
    tuned, pooled = f"{TUNED} ({number(low)})", f"{POOLED} ({number(high)})"
    if task.gain(high, low) < task.clear(low):
        return f"there is no gap to close: {pooled} is not clearly better than {tuned}; {name} reaches {number(value)}."
    if math.isnan(closed):
        return f"{name} reaches {number(value)}, {tuned}, {pooled}; they have too few runs in common to say more."
    percent = round(100 * closed)
    if percent > 100:
        return f"{name} ({number(value)}) is better than {tuned}, and even than {pooled}."
    if percent < 0:
        return f"{name} ({number(value)}) is worse than {tuned}, and further from {pooled}."
    share = "none" if percent == 0 else "all" if percent == 100 else f"{percent} %"
    return f"{name} closes {share} of the gap between {tuned} and {pooled}."


def _against(name: str, there: Mapping[str, float], task: type[Task]) -> str:
    """One strategy and the best of the others."""
    others = {other: value for other, value in there.items() if other != name}
    best = task.best(others, lambda other: others[other])
    gap = task.gain(there[name], others[best])
    alike, way = abs(gap) < task.clear(others[best]), "better" if gap > 0 else "worse"
    word = "about as good as" if alike else f"{number(abs(gap))} {way} than"
    place = f"{best} ({number(others[best])})" + (", the best of the others" if len(others) > 1 else "")
    return f"{name} ({number(there[name])}) is {word} {place}."


def of_study(summary: Mapping[str, Any], trained: Sequence[Sequence[str]], own: bool) -> str:
    """The final score of a run, its worst site, and what was forgotten on the way.

    Args:
        trained: the sites that each leg trained on.
        own: whether each leg starts from nothing, so that each site has a model of its own.
    """
    sites = list(own_legs(trained))
    task, name = named(summary.get("task")), named(summary.get("task")).score_name
    ends = {site: as_number(summary["final"].get(site)) for site in sites}
    if math.isnan(average := mean(ends.values())):
        return f"No {name} could be measured."
    low = worst(ends, task)
    model = "Each site's own model" if own else "The model" if len(trained) == 1 else "The last leg's model"
    if len(sites) == 1:
        text = f"{model} has a {name} of {number(average)} at {sites[0]}."
    else:
        where = f"{task.worst_word()} at {low['site']} ({number(low['value'])})"
        text = f"{model} has a {name} of {number(average)} over {len(sites)} sites, {where}."
    lost = as_number(summary["forgetting"])
    if math.isnan(lost):
        return text
    if abs(lost) < task.clear(average):
        return f"{text} Hardly anything was forgotten on the way ({number(lost)})."
    return f"{text} Earlier sites " + (f"lost {number(lost)} on the way." if lost > 0 else f"gained {number(-lost)}.")
