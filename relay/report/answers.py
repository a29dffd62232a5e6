"""Figures of what was predicted, of a task without masks: from the rows of single samples of the models at the end."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.errors import plain
from relay.report.gather import Run
from relay.report.plot_style import COLOURS, INK, Picture, figure
from relay.report.scores import rows_of
from relay.report.shapes import damaged
from relay.results import GENERALIST

Said = dict[str, dict[str, dict[str, float]]]
"""Sample → metric → class → value."""
PANEL, ACROSS = 2.7, 3
"""Height of a panel, and how many are beside each other."""


def figures(run: Run) -> list[Picture]:
    """ROC curves and confusion of a classification, ROC curves of labels, or predictions against the truth.

    Raises:
        UserError: the file with the rows is damaged.
    """
    said = _said(run)
    if not said:
        return []
    if run.task.likelihood == "gaussian":
        return [_scatter(said), _bland_altman(said)]
    drawn = [_roc(said)]
    return drawn if run.task.likelihood == "bernoulli" else [*drawn, _confusion(said)]


def _said(run: Run) -> dict[str, Said]:
    """Site → what its samples' rows say, of the model that represents the site at the end."""
    paths = [run.root / "results" / name for name in ("samples.csv", "scores.csv")]
    path = next((path for path in paths if path.is_file() and not (run.stale and path is paths[0])), None)
    found: dict[str, Said] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    try:
        for row in rows_of(path) if path else ():
            site = plain(row["site"])
            if row.get("model", GENERALIST) == GENERALIST and row["sample"] and int(row["leg"]) == run.ends(site):
                found[site][row["sample"]][row["metric"]][plain(row["class"])] = _number(row["value"])
    except (ValueError, csv.Error) as error:
        raise damaged(Path(str(path)), error) from error
    return found


def _number(text: str) -> float:
    return float(text) if text else math.nan


def roc_curve(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1); scores that are equal move together."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)
    hits, misses = (np.cumsum(which[order])[ends] for which in (positive, ~positive))
    return np.append(0, misses / max(1, misses[-1])), np.append(0, hits / max(1, hits[-1]))


def _truths(samples: Said) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """Of each class or label: its name, the probabilities of all samples, and which of them have it.

    A sample's scores are in the groups that it belongs to, so they tell the truth.
    """
    names = list(dict.fromkeys(name for one in samples.values() for name in one.get("probability", ())))
    for name in names:
        score = [one["probability"][name] for one in samples.values()]
        has = [name in one.get("correct", ()) for one in samples.values()]
        yield name, np.array(score), np.array(has)


def _panels(count: int) -> tuple[Any, list[Any]]:
    across = min(count, ACROSS)
    rows = math.ceil(count / across)
    drawn = figure(0.5 + PANEL * rows, max(4.0, PANEL * across))
    panels = list(drawn.subplots(rows, across, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return drawn, panels


def _roc(said: Mapping[str, Said]) -> Picture:
    drawn, panels = _panels(len(said))
    for (site, samples), axes in zip(said.items(), panels, strict=False):
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", alpha=0.6)
        for place, (name, score, has) in enumerate(_truths(samples)):
            if has.any() and not has.all():
                across, up = roc_curve(score, has)
                axes.plot(across, up, color=COLOURS[place % len(COLOURS)], lw=1.4, label=name.lstrip("_") or "-")
        axes.set(title=site[:18], xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=7, loc="lower right")
    return Picture(
        "roc",
        "ROC curves",
        f"Receiver operating characteristic curves at {len(said)} sites, a line for each class; the tables have AUROC.",
        "Each line is one class against all others: how many cases are found (up) at the price of how many false "
        "alarms (across), at every "
        "threshold. The dashed line is guessing. A class that all test images of a site have, or "
        "none, has no line.",
        drawn,
    )


def confusion(samples: Said) -> tuple[list[str], NDArray[np.int64]]:
    """Class names, and counts: a row for each true class, a column for each predicted one."""
    names = list(dict.fromkeys(name for one in samples.values() for name in one.get("probability", ())))
    counts = np.zeros((len(names), len(names)), np.int64)
    for one in samples.values():
        (true,), probability = one["correct"], one["probability"]
        counts[names.index(true), names.index(max(probability, key=probability.__getitem__))] += 1
    return names, counts


def _confusion(said: Mapping[str, Said]) -> Picture:
    drawn, panels = _panels(len(said))
    for (site, samples), axes in zip(said.items(), panels, strict=False):
        names, counts = confusion(samples)
        share = counts / np.maximum(1, counts.sum(1, keepdims=True))
        axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts) if len(names) <= 12 else ():
            colour = "#000000" if share[row, column] > 0.5 else "#ffffff"
            axes.text(column, row, str(count), ha="center", va="center", size=8, color=colour)
        axes.set_xticks(range(len(names)), [name[:12] for name in names], rotation=45, ha="right", size=7)
        axes.set_yticks(range(len(names)), [name[:12] for name in names], size=7)
        axes.set(title=site[:18], xlabel="predicted", ylabel="true")
        axes.grid(False)
    return Picture(
        "confusion",
        "Confusion",
        f"Confusion matrices of {len(said)} sites, in numbers of test images.",
        "A row is a true class, a column a predicted one; the number is how many test images. Brighter is a larger "
        "share of the row: the diagonal is what was classed right.",
        drawn,
    )


def _pairs(samples: Said) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and predicted numbers."""
    found = [[next(iter(one[what].values())) for what in ("truth", "prediction")] for one in samples.values()]
    true, pred = np.array(found).T
    return true, pred


def _scatter(said: Mapping[str, Said]) -> Picture:
    drawn, panels = _panels(len(said))
    for (site, samples), axes in zip(said.items(), panels, strict=False):
        true, pred = _pairs(samples)
        ends = [min(true.min(), pred.min()), max(true.max(), pred.max())]
        axes.plot(ends, ends, color=INK, lw=1, ls="--", alpha=0.6)
        axes.plot(true, pred, "o", ms=3.5, color=COLOURS[0], alpha=0.7, mew=0)
        axes.set(title=site[:18], xlabel="true", ylabel="predicted")
        axes.grid(True, axis="both")
    return Picture(
        "scatter",
        "Predictions and truth",
        f"Scatter plots of predicted against true numbers at {len(said)} sites.",
        "Each dot is one test image, without its name. On the dashed line, the prediction is right.",
        drawn,
    )


def limits(difference: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of the differences, and the 95 % limits of agreement: the mean -/+ 1.96 standard deviations (Bland and
    Altman 1986, 10.1016/S0140-6736(86)90837-8); of a single difference, NaN."""
    middle = float(difference.mean())
    spread = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    return middle - spread, middle, middle + spread


def _bland_altman(said: Mapping[str, Said]) -> Picture:
    drawn, panels = _panels(len(said))
    for (site, samples), axes in zip(said.items(), panels, strict=False):
        true, pred = _pairs(samples)
        axes.plot((true + pred) / 2, pred - true, "o", ms=3.5, color=COLOURS[0], alpha=0.7, mew=0)
        for level, style in zip(limits(pred - true), ("--", "-", "--"), strict=True):
            if not math.isnan(level):
                axes.axhline(level, color=INK, lw=1, ls=style, alpha=0.7)
        axes.set(title=site[:18], xlabel="mean of true and predicted", ylabel="predicted - true")
    return Picture(
        "bland_altman",
        "Bland-Altman plots",
        f"Differences of predicted and true numbers over their means, at {len(said)} sites.",
        "Each dot is one test image, without its name. The line is the mean difference: away from 0, the model is "
        "biased. Between the dashed lines, the limits of agreement, lie about 95\u00a0% of the differences.",
        drawn,
    )
