"""Results as tidy rows, and their summary: the matrix of legs and sites, its mean, and forgetting.

A row is one sample and class, predicted by one of a leg's models: see :data:`COLUMNS`. A *score* is the primary metric
of the study's task (:mod:`relay.tasks`): of segmentation Dice. A value that could not be
measured is missing (an empty cell), never zero, and every mean ignores it.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from relay.errors import DataError
from relay.files import write_text
from relay.tasks import Task, of_metric

COLUMNS = ("study", "strategy", "leg", "trained", "model", "site", "patient", "sample", "class", "metric", "value")

GENERALIST, EXPERT, VOTE, ADOPTED, ENSEMBLE = "generalist", "expert", "vote", "adopted", "ensemble"
"""Values of ``model``: the one model for everybody; the site's own; all experts together; the one that a site chose for
its own patients after the relay; and several legs' models, averaged. The column is empty for masks that no leg made."""
BEFORE = tuple(name for name in COLUMNS if name != "model")
"""The columns of files from before a leg had more than one model: all of their rows are the generalist's."""

Row = Mapping[str, Any]
Matrix = dict[int, dict[str, float]]
"""leg → site → score of its test samples."""
Trained = Sequence[Sequence[str]]
"""The sites that each leg trained on, in the order of the legs: one, or several if they are pooled."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV; a missing value is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "value": cell(row["value"])})
    write_text(path, text.getvalue())


def cell(value: float) -> str:
    """A number for CSV: nine significant digits, integers unchanged, empty if missing."""
    if math.isnan(value):
        return ""
    if isinstance(value, int):
        return repr(value)
    number = float(value)
    return repr(number if number.is_integer() else float(f"{number:.9g}"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows that :func:`write_rows` wrote.

    Raises:
        DataError: the file does not exist, or is not such a file.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = tuple(next(lines, ()))
        if columns not in (COLUMNS, BEFORE):
            raise ValueError(f"the first line must be {','.join(COLUMNS)}")
        found = [_row(cells, columns, lines.line_num) for cells in lines]
        if not text.endswith("\n"):
            raise ValueError("its last line is truncated")
        return found
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: it is not UTF-8") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _row(cells: Sequence[str], columns: Sequence[str], line: int) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise ValueError(f"line {line} has {len(cells)} cells, not {len(columns)}")
    row: dict[str, Any] = dict.fromkeys(COLUMNS, GENERALIST) | dict(zip(columns, cells, strict=True))
    try:
        row["leg"] = int(row["leg"]) if row["leg"] else None  # None: masks that were not made by a leg
        row["value"] = float(row["value"]) if row["value"] else math.nan
    except ValueError:
        raise ValueError(f"line {line}: leg or value is not a number") from None
    return row


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are not missing; NaN if there are none."""
    there = [value for value in values if not math.isnan(value)]
    return fmean(there) if there else math.nan


def of_model(rows: Iterable[Row], model: str = GENERALIST) -> list[Row]:
    """The rows of one of the models."""
    return [row for row in rows if row["model"] == model]


def matrix(rows: Iterable[Row], model: str = GENERALIST) -> Matrix:
    """Score of each leg's model on each site, as of :func:`by_site`."""
    legs: dict[int, list[Row]] = defaultdict(list)
    for row in of_model(rows, model):
        legs[int(row["leg"])].append(row)
    return {leg: by_site(own) for leg, own in legs.items()}


def by_site(rows: Iterable[Row]) -> dict[str, float]:
    """Score on each site: the mean over samples for each class, then over classes.

    The background of a segmentation, the first class of the data set, is left out.
    """
    sites: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in foreground(rows):
        sites[str(row["site"])][row["class"]].append(float(row["value"]))
    return {site: mean(mean(values) for values in by_class.values()) for site, by_class in sites.items()}


def foreground(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that count in a score: those of the metric of single samples, without the background of a
    segmentation, the first class of each site."""
    first: dict[str, str] = {}
    for row in rows:
        task = of_metric(row["metric"])
        if task and not (task.background and row["class"] == first.setdefault(row["site"], row["class"])):
            yield row


def forgetting(table: Matrix, sites: Sequence[str], task: type[Task]) -> float:
    """Forgetting: mean over sites of how much better the best score after an earlier leg is than that of the last leg.

    Chaudhry et al. 2018 (Riemannian walk), over the sites of all legs except the last, each once. Scores on a site
    count only once a leg has trained on it. NaN if there is only one leg, or a later one was not tested on a site: its
    score could be the best.

    Args:
        sites: the site that each leg trained on, in the order of the legs.
    """
    legs = sorted(table)
    lost = []
    for site in dict.fromkeys(sites[:-1]):
        if any(site not in table[leg] for leg in legs[sites.index(site) :]):
            return math.nan
        scores = [table[leg].get(site, math.nan) for leg in legs[sites.index(site) :]]
        seen = [score for score in scores[:-1] if not math.isnan(score)]
        lost.append(task.gain(task.best(seen), scores[-1]) if seen else math.nan)
    return mean(lost)


def average(table: Matrix, trained: Trained) -> float:
    """Mean score of the last leg's model over the sites trained on, without external ones."""
    last = table[max(table)]
    return mean(last.get(site, math.nan) for site in own_legs(trained))


def own_legs(trained: Trained) -> dict[str, int]:
    """Index (from 0) of the last leg that trained on each site; with several laps, the one in the last lap."""
    return {site: place for place, sites in enumerate(trained) for site in sites}


def backward(table: Matrix, trained: Trained, task: type[Task]) -> float:
    """Backward transfer: mean over sites of how much better the last leg's model is than that of the site's own leg.

    Lopez-Paz and Ranzato 2017 (10.48550/arXiv.1706.08840); below 0 is forgetting. The sites of the last leg don't
    count, because no leg follows it. NaN if there is only one leg.
    """
    legs = sorted(table)
    own = {site: place for site, place in own_legs(trained).items() if place < len(legs) - 1}
    ends, then = table[legs[-1]], {site: table[legs[place]].get(site, math.nan) for site, place in own.items()}
    return mean(task.gain(ends.get(site, math.nan), value) for site, value in then.items())


def forward(table: Matrix, trained: Trained, baseline: Mapping[str, float] | None, task: type[Task]) -> float:
    """Forward transfer: mean over sites of how much better the model just before the site was first trained on is than
    its baseline.

    Lopez-Paz and Ranzato 2017, as above. With several laps, a site's first leg counts, because the model
    has already seen the site before its last one. The sites of the first leg don't count.

    Args:
        baseline: score of a model that learned from no other site: the untrained net, or the site's own model (then
            the result is the loss from not having trained there). Without it, forward transfer is missing.
    """
    if baseline is None:
        return math.nan
    legs, first = sorted(table), {s: place for place, sites in reversed([*enumerate(trained)]) for s in sites}
    before = {site: table[legs[place - 1]].get(site, math.nan) for site, place in first.items() if place > 0}
    return mean(task.gain(value, baseline.get(site, math.nan)) for site, value in before.items())


def worst(values: Mapping[Any, float], task: type[Task]) -> dict[str, Any]:
    """The worst score and its site, ``{site, value}``; None and NaN if all are missing."""
    return _at(values, task.worst)


def lowest(gains: Mapping[Any, float]) -> dict[str, Any]:
    """The lowest gain and its site, likewise: of any metric, above 0 is better."""
    return _at(gains, lambda sites, key: min(sites, key=key))


def _at(values: Mapping[Any, float], choose: Callable[..., Any]) -> dict[str, Any]:
    there = {site: value for site, value in values.items() if not math.isnan(value)}
    site = choose(there, key=lambda name: there[name]) if there else None
    return {"site": site, "value": math.nan if site is None else there[site]}


def gaps(final: Mapping[str, float], other: Mapping[str, float], task: type[Task]) -> dict[str, float]:
    """Site → how much better the final score is than the other's, either joint's or that of the site's own model; NaN
    if one is missing."""
    return {site: task.gain(final[site], other.get(site, math.nan)) for site in final}


def of_relay(
    table: Matrix,
    trained: Trained,
    *,
    final: Mapping[str, float] | None = None,
    joint: Mapping[str, float] | None = None,
    local: Mapping[str, float] | None = None,
    baseline: Mapping[str, float] | None = None,
    carried: float = math.nan,
    seconds: float = math.nan,
    task: type[Task],
) -> dict[str, Any]:
    """The numbers of a relay, as in ``summary.json`` under ``relay``; NaN for what was not measured.

    Args:
        final: if legs don't build on each other, each site's score at the end, of its own model. Then there is no
            transfer, no forgetting, and no single model for external sites. None: the last leg's model everywhere.
        joint, local: their final scores, for the gaps.
        baseline: see :func:`forward`.
        carried: size of the memories beside the model in the last handover, in bytes.
        seconds: training time of all legs.
        task: compares scores.
    """
    own, last, apart = own_legs(trained), table[max(table)], final is not None
    ends = {site: (last if final is None else final).get(site, math.nan) for site in own}
    return {
        "average": mean(ends.values()),
        "backward": math.nan if apart else backward(table, trained, task),
        "forward": math.nan if apart else forward(table, trained, baseline, task),
        "forgetting": math.nan if apart or len(trained) < 2 else forgetting(table, [s[0] for s in trained], task),
        "worst": worst(ends, task),
        "external": {site: math.nan if apart else value for site, value in last.items() if site not in own},
        "to_joint": {} if joint is None else gaps(ends, joint, task),
        "to_local": {} if local is None else gaps(ends, local, task),
        "bytes": carried,
        "seconds": seconds,
    }


def no_nan(value: Any) -> Any:
    """Prepare for JSON, which has no NaN: what could not be measured becomes null; keys become text."""
    if isinstance(value, Mapping):
        return {str(key): no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [no_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
