"""The three measures of a study: what a hospital gains at home, everywhere and elsewhere.

- **At home**: each site's own patients, with the model that it uses for them at the end.
- **Everywhere**: the test sets of all sites trained on, with one model.
- **Elsewhere**: external test sets, of sites that no leg trained on, with the same model.

The one model is what the last leg hands to a stranger: the vote of its experts or, without experts, its generalist. If
every leg starts from nothing, no model is for everybody: then an image's score is the mean over all sites' own models,
as to be expected from another site's model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from relay.results import ADOPTED, VOTE, Row, Trained, by_site, matrix, mean, of_model, own_legs, worst
from relay.tasks import Task

AT_HOME: Final = "at_home"
EVERYWHERE: Final = "everywhere"
ELSEWHERE: Final = "elsewhere"
MEASURES: Final = (AT_HOME, EVERYWHERE, ELSEWHERE)


def measured(rows: Sequence[Row], trained: Trained, alone: bool, task: type[Task]) -> dict[str, Any]:
    """The measures, as in ``summary.json``: each a score by site, and what goes with it.

    Args:
        rows: of all legs.
        trained: the sites that each leg trained on, in the order of the legs.
        alone: whether each leg starts from nothing.
        task: compares scores.

    Returns:
        ``at_home``, ``everywhere``, ``elsewhere``: site → score. ``generalist``: the last two of the generalist alone,
        if there is a vote. With ``alone``, ``worst_pair``: the ``model`` and the ``site`` where it is worst, with the
        ``value``; ``best_single``: external site → score of the model that is best there, known only afterwards.
    """
    found = {name: by_site(own) for name, own in counted(rows, trained, alone).items()}
    single = _parted(_of_leg(of_model(rows)), own_legs(trained)) if of_model(rows, VOTE) else {}
    generalist = {name: by_site(own) for name, own in single.items() if own}
    return {
        **found,
        "generalist": generalist,
        **(_lone(rows, trained, task) if alone else {"worst_pair": None, "best_single": {}}),
    }


def counted(rows: Sequence[Row], trained: Trained, alone: bool) -> dict[str, list[Row]]:
    """The rows that each measure counts; arguments as of :func:`measured`."""
    own = own_legs(trained)
    every = of_model(rows)
    one = _averaged(every) if alone else _of_leg(of_model(rows, VOTE)) or _of_leg(every)
    return {AT_HOME: _at_home(rows, own, alone), **_parted(one, own)}


def _at_home(rows: Sequence[Row], own: Mapping[str, int], alone: bool) -> list[Row]:
    """Of each site's own test set: what it adopted; else its own model's, or the last leg's."""
    adopted = [row for row in of_model(rows, ADOPTED) if row["trained"] == row["site"]]
    every = of_model(rows)
    chosen = {row["site"] for row in adopted}
    ends = [row for row in every if row["trained"] == row["site"]] if alone else _of_leg(every)
    return [*adopted, *(row for row in ends if row["site"] in own and row["site"] not in chosen)]


def _of_leg(rows: Sequence[Row]) -> list[Row]:
    """Those of the last leg."""
    last = max((int(row["leg"]) for row in rows), default=0)
    return [row for row in rows if row["leg"] == last]


def _parted(rows: Iterable[Row], own: Mapping[str, int]) -> dict[str, list[Row]]:
    """By whether a leg trained on the site."""
    parts: dict[str, list[Row]] = {EVERYWHERE: [], ELSEWHERE: []}
    for row in rows:
        parts[EVERYWHERE if row["site"] in own else ELSEWHERE].append(row)
    return parts


def _averaged(rows: Iterable[Row]) -> list[Row]:
    """One row for each sample and class: the mean over the models."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in ("site", "patient", "sample", "class", "metric"))].append(row)
    return [{**same[0], "value": mean(row["value"] for row in same)} for same in groups.values()]


def _lone(rows: Sequence[Row], trained: Trained, task: type[Task]) -> dict[str, Any]:
    """The worst score of a model at a site trained on, and at external sites the best."""
    table, own = matrix(rows), own_legs(trained)
    models = {site: table[leg] for site, leg in zip(own, sorted(table), strict=False)}
    pairs = {(model, site): value for model, row in models.items() for site, value in row.items() if site in own}
    lowest = worst(pairs, task)
    model, site = lowest["site"] or (None, None)
    external = dict.fromkeys(site for row in models.values() for site in row if site not in own)
    return {
        "worst_pair": {"model": model, "site": site, "value": lowest["value"]},
        "best_single": {site: best(task, (row.get(site, math.nan) for row in models.values())) for site in external},
    }


def best(task: type[Task], values: Iterable[float]) -> float:
    """The best of the scores that are not missing; NaN if there are none."""
    there = [value for value in values if not math.isnan(value)]
    return task.best(there) if there else math.nan
