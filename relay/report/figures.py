"""The figures of a run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from relay.report.curves import Curve
from relay.report.gather import Run, number
from relay.report.plot_style import COLOURS, INK, WIDTH, Picture, figure
from relay.report.screen import number as shown

DOTS = 6000
"""Approximate maximum number of dots in a figure."""
MANY = 12
"""With more columns than this, numbers don't fit into the cells of a heat map; with more legs, not all are drawn."""
BESIDE = 0.8
"""Inches that the numbers beside an axis take."""
ACROSS = 4
"""Small panels beside each other."""


def short(name: str, most: int = 24) -> str:
    """A name for an axis; of a long one the middle is left out, for names of sites often differ in their ends."""
    end = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - end]}…{name[-end:]}"


def span(values: Iterable[float]) -> tuple[float, float]:
    """The tenths below and above all values, for an axis that shows differences; 0 to 1 if there are none."""
    there = [value for value in values if not math.isnan(value)] or [0.0, 1.0]
    low, high = math.floor(min(there) * 10) / 10, math.ceil(max(there) * 10) / 10
    return (low, high) if high > low else (low - 0.1, high + 0.1)


def grid(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[int, int], float],
    framed: Collection[tuple[int, int]] = (),
    up: bool = True,
) -> Any:
    """A heat map; missing cells are hatched. ``values`` and ``framed``: by row and column.

    The cells have their numbers unless there are more than :data:`MANY` columns. The colours go from one end of the
    :func:`span` of the values to the other, brighter where they are higher or, not ``up``, where they are lower.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    many = len(columns) > MANY
    wide = min(WIDTH, 1.8 + 1.1 * len(columns))
    drawn = figure(0.8 + (0.2 if many else 0.42) * len(rows), wide)
    axes = drawn.subplots()
    low, high = span(values.values())
    for r in range(len(rows)):
        for c in range(len(columns)):
            value = values.get((r, c), math.nan)
            there = not math.isnan(value)
            fill: Any = colormaps["cividis" if up else "cividis_r"]((value - low) / (high - low)) if there else "none"
            light = there and float(np.dot(fill[:3], (0.299, 0.587, 0.114))) > 0.5
            on = INK if not there else "#000000" if light else "#ffffff"
            how = {"facecolor": fill, "edgecolor": "none"} if there else {"fill": False, "hatch": "////", "alpha": 0.45}
            axes.add_patch(Rectangle((c, r), 1, 1, linewidth=0, **({"edgecolor": INK} | how)))
            if not many:
                weight = "bold" if (r, c) in framed else "normal"
                axes.text(c + 0.5, r + 0.5, shown(value), ha="center", va="center", size=10, color=on, weight=weight)
            if (r, c) in framed:
                frame = (c + 0.04, r + 0.06), 0.92, 0.88
                axes.add_patch(Rectangle(*frame, fill=False, edgecolor=on, linewidth=1.8))
    axes.set(xlim=(0, max(len(columns), 1)), ylim=(len(rows), 0))
    names = [short(c, 14) for c in columns]
    axes.set_xticks(np.arange(len(columns)) + 0.5, names, rotation=turned(names, wide - 1.8))
    axes.set_yticks(np.arange(len(rows)) + 0.5, [short(r) for r in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return drawn


def turned(names: Sequence[str], inches: float) -> int:
    """By how many degrees the names along an axis are turned, so that they don't overlap."""
    from matplotlib.textpath import TextPath

    widest = max((TextPath((0, 0), name, size=9).get_extents().width for name in names if name), default=0)
    return 90 if widest / 72 > 0.95 * inches / len(names) else 0


def matrix(run: Run) -> Picture | None:
    """Legs × sites."""
    legs, sites = sorted(run.matrix), run.sites
    if not sites:
        return None
    places = [(r, c) for r in range(len(legs)) for c in range(len(sites))]
    values = {(r, c): run.matrix[legs[r]].get(sites[c], math.nan) for r, c in places}
    framed = {(r, c) for r, c in places if run.scores.trained.get(legs[r]) == sites[c]}
    low, high = span(values.values())
    measured = sum(not math.isnan(value) for value in values.values())
    return Picture(
        "matrix",
        f"{run.task.title()} after each leg, at each site",
        f"Heat map of {len(legs)} legs by {len(sites)} sites; {measured} of {len(values)} cells were measured. "
        "The table below has the same numbers.",
        "A row is the model after one leg, a column is one site's test images. The "
        f"{'colour' if len(sites) > MANY else 'number'} is the {run.task.score_name}: {run.task.primary.meaning}; "
        "brighter is better (the colours go from "
        f"{low:.1f} to {high:.1f}). A frame marks the site that the leg trained on. Read down a column to see "
        "whether a site is remembered as the model moves on. A hatched cell was not measured.",
        grid([run.label(leg) for leg in legs], sites, values, framed, run.task.primary.higher_is_better),
    )


def telling(run: Run, site: str) -> list[int]:
    """The legs that say most about a site, where there is no room for all: the last one that trained there, and the one
    whose model represents it at the end."""
    return sorted({leg for leg in (run.own.get(site), run.ends(site)) if leg is not None})


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` of the sorted values, evenly over their ranks; the smallest and the largest stay."""
    if len(values) <= most:
        return list(values)
    return [values[round(k * (len(values) - 1) / (most - 1))] for k in range(most)]


def distributions(run: Run) -> Picture | None:
    """One panel per site: a box for each leg and class, and a dot for each sample."""
    scores, legs = run.scores, sorted(run.scores.trained)
    sites = list(dict.fromkeys(site for _, site in scores.found))
    groups = len(sites) * len(legs) * len(scores.classes)
    if not groups or run.task.sample_metric == "correct":  # right or wrong: nothing to spread
        return None
    many = len(legs) > MANY
    drawn_legs = {site: telling(run, site) if many else legs for site in sites}
    most = max(12, min(120, DOTS // max(1, sum(map(len, drawn_legs.values())) * len(scores.classes))))
    low, high = span(v for cell in scores.found.values() for sample in cell.values() for v in sample.values())
    across = min(ACROSS, len(sites)) if many else 1
    drawn = figure(0.6 + 1.75 * math.ceil(len(sites) / across))
    panels = drawn.subplots(math.ceil(len(sites) / across), across, sharex=not many, sharey=True, squeeze=False).flat
    for site, axes in zip(sites, panels, strict=False):
        there = drawn_legs[site]
        for place, name in enumerate(scores.classes):
            _boxes(axes, [scores.of(leg, site, name) for leg in there], place, len(scores.classes), most)
        axes.set(title=short(site, 60 // across), ylim=(low - 0.02, high + 0.02), xlim=(-0.5, len(there) - 0.5))
        labels = [f"leg {leg}" if many else short(run.label(leg), 20) for leg in there]
        axes.set_xticks(range(len(there)), labels, rotation=turned(labels, (WIDTH - BESIDE) / across - 0.2))
    for axes in panels[::across]:
        axes.set_ylabel(run.task.title())
    for axes in panels[len(sites) :]:
        axes.set_visible(False)
    drawn.supxlabel("model after leg", size=9)
    _legend(drawn, [(short(c, 40), COLOURS[k % len(COLOURS)]) for k, c in enumerate(scores.classes)])
    samples = max(len(cell) for cell in scores.found.values())
    return Picture(
        "distributions",
        f"{run.task.title()} of single images",
        f"Box plots of {run.task.title()} at {len(sites)} sites after "
        f"{'two' if many else len(legs)} legs each, for {len(scores.classes)} classes; "
        f"at most {samples} images a box. Means and intervals are in the tables below.",
        "One panel a site"
        + (", with its own last leg and the last of all" if many else "")
        + ". Each dot is one test image, without its name; where there are many, an even share of them "
        "is drawn. The box holds the middle half of the images, its line is the median, the whiskers reach from the "
        "5th to the 95th percentile. A tall box, or dots far below it, means that the model fails on some images "
        "although the mean looks good. All panels have the same axis. The background is left out.",
        drawn,
    )


def _boxes(axes: Any, groups: Sequence[Sequence[float]], place: int, count: int, most: int) -> None:
    colour, width = COLOURS[place % len(COLOURS)], 0.8 / count
    for leg, values in enumerate(groups):
        if not values:
            continue
        x = leg - 0.4 + width * (place + 0.5)
        low, q1, median, q3, high = np.percentile(values, [5, 25, 50, 75, 95])
        stats = {"whislo": low, "q1": q1, "med": median, "q3": q3, "whishi": high}
        line = {"color": INK, "linewidth": 1.0}
        axes.bxp(
            [stats],
            positions=[x],
            widths=width * 0.8,
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": INK, "linewidth": 0.8},
            medianprops={"color": INK, "linewidth": 2},
            whiskerprops=line,
            capprops=line,
        )
        dots = thinned(values, most)
        spread = (np.arange(len(dots)) * 0.618034) % 1 - 0.5  # the golden ratio spreads neighbours apart
        axes.plot(x + spread * width * 0.6, dots, "o", ms=3, color=colour, alpha=0.7, mew=0)


def _legend(drawn: Any, entries: Sequence[tuple[str, str]]) -> None:
    """Colours and names above a figure. matplotlib ignores names that begin with ``_``, so these get a prefix."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=colour, marker="s", linestyle="", markersize=7) for _, colour in entries]
    names = [name.lstrip("_") or "-" for name, _ in entries]
    drawn.legend(marks, names, loc="outside upper right", ncols=min(len(names), 4))


def curves(run: Run, found: Sequence[Curve]) -> Picture | None:
    """Loss and validation score, leg after leg."""
    if not found:
        return None
    has_loss, has_score = any(c.loss for c in found), any(c.score for c in found)
    drawn = figure(0.7 + 2.0 * (has_loss + has_score))
    panels = list(drawn.subplots(has_loss + has_score, sharex=True, squeeze=False)[:, 0])
    offset, middles = 0.0, []
    for place, curve in enumerate(found):
        colour = COLOURS[place % len(COLOURS)]
        for points in curve.loss.values() if has_loss else ():
            panels[0].plot([offset + x for x, _ in points], [y for _, y in points], color=colour, lw=1.2)
        style: dict[str, Any] = {"color": colour, "lw": 1.4, "marker": "o", "ms": 3.5}
        if has_score:
            panels[-1].plot([offset + x for x, _ in curve.score], [y for _, y in curve.score], **style)
        middles.append(offset + curve.steps / 2)
        offset += curve.steps
        for axes in panels if place < len(found) - 1 else ():
            axes.axvline(offset, color=INK, lw=0.8, alpha=0.4, ls=":")
    if has_loss:
        panels[0].set(title="Loss on training images (lower is better)", ylabel="loss")
    if has_score:
        way = "higher" if run.task.primary.higher_is_better else "lower"
        panels[-1].set(title=f"{run.task.title()} on validation images ({way} is better)", ylabel=run.task.title())
        panels[-1].set_ylim(span(y for c in found for _, y in c.score))
    panels[-1].set_xlabel("optimiser steps, leg after leg")
    top = panels[0].secondary_xaxis("top")
    labels = [short(run.label(c.leg), 18) for c in found]
    top.set_xticks(middles, labels, rotation=turned(labels, WIDTH - BESIDE))
    top.tick_params(length=0, labelsize=8, pad=14)
    top.spines[:].set_visible(False)
    return Picture(
        "curves",
        "Learning curves",
        f"Line plot over {round(offset)} steps of {len(found)} legs, of "
        + " and ".join(["training loss"] * has_loss + [f"validation {run.task.title()}"] * has_score)
        + ".",
        "Each leg has its colour; dotted lines are the hand-overs. The loss should fall within a leg and flatten. The "
        "validation images are of the site that is being trained at, so the score may get worse at a hand-over: the "
        "next site's images differ. A curve that still improves at its end suggests that more training may help.",
        drawn,
    )


def calibration(run: Run) -> Picture | None:
    """A reliability diagram for each site, with one line per leg or, of more than :data:`MANY`, for :func:`telling`."""
    rows = [row for row in run.evaluation.get("calibration", []) if row.get("bins")]
    many = len({row["leg"] for row in rows}) > MANY
    rows = [row for row in rows if not many or row["leg"] in telling(run, row["site"])]
    if not rows:
        return None
    sites, legs = list(dict.fromkeys(r["site"] for r in rows)), sorted({int(r["leg"]) for r in rows})
    across = min(len(sites), ACROSS)
    drawn = figure(0.8 + 1.95 * math.ceil(len(sites) / across), max(WIDTH * across / ACROSS, 3.2))
    panels = drawn.subplots(math.ceil(len(sites) / across), across, sharex=True, sharey=True, squeeze=False).flat
    for site, axes in zip(sites, panels, strict=False):
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", alpha=0.6)
        for row in (r for r in rows if r["site"] == site):
            place = int(int(row["leg"]) == run.last) if many else legs.index(int(row["leg"]))
            colour = COLOURS[place % len(COLOURS)]
            bins = [b for b in row["bins"] if b.get("count")]
            x, y = ([number(b[key]) for b in bins] for key in ("confidence", "accuracy"))
            axes.plot(x, y, color=colour, lw=1.3, marker="o", ms=3)
        axes.set(title=short(site, 18), xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.grid(True, axis="both")
    things = "pixels" if run.task.dense else "images"
    for axes in list(panels):  # unused panels
        axes.set_visible(False)
    drawn.supxlabel("the model's confidence", size=9)
    drawn.supylabel("how often it was right", size=9)
    names = ["after its own leg", "after the last leg"] if many else [f"leg {short(run.label(k), 20)}" for k in legs]
    _legend(drawn, [(name, COLOURS[n % len(COLOURS)]) for n, name in enumerate(names)])
    return Picture(
        "calibration",
        "Calibration",
        f"Reliability diagrams of {len(sites)} sites, each with {len(names)} lines or fewer. The table below has the "
        "expected calibration errors" + (" of all legs." if many else "."),
        f"Can you trust the model's confidence? On the dashed line, you can: of the {things} it is 80\u00a0% sure of, "
        "it gets 80\u00a0% right. A line below the dashes means overconfidence, above them underconfidence.",
        drawn,
    )
