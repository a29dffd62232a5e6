"""The page of the groups, and their numbers as a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from relay.files import write_text
from relay.numbers import MISSING, bounds, number as shown, sheet_cell
from relay.report import Picture, Section, Table, figure, render, styled
from relay.statistics import MIN_PATIENTS
from relay.subgroups.measuring import Column, Group
from relay.subgroups.scored import TITLES
from relay.subgroups.sets import RESAMPLES

HEADER = ("column", "group", "metric", "patients", "images", "mean", "low", "high")
LEVEL = 0.05
"""A gap with a corrected p-value below this is told as one."""


def write_page(columns: Sequence[Column], main: str, what: str, least: int, folder: Path) -> Iterator[Path]:
    """Write ``subgroups.csv`` and ``subgroups.html`` into a folder; yields their paths.

    Args:
        main: the metric that groups are compared by.
        what: which model's scores they are, in words.
        least: as in :func:`relay.subgroups.compare`.
    """
    table = folder / "subgroups.csv"
    write_text(table, _table(columns))
    yield table
    with styled():
        page = render(
            None,
            title="Subgroups",
            sentence=sentence(columns, main),
            sections=[
                *(_section(number, column, main, least) for number, column in enumerate(columns)),
                _reading(main, what),
            ],
            cases=False,
            alerts=(),
        )
    path = folder / "subgroups.html"
    write_text(path, page)
    yield path


def sentence(columns: Sequence[Column], main: str) -> str:
    """What was found, in one sentence."""
    apart = [column for column in columns if column.corrected < LEVEL]
    if apart:
        told = ", ".join(f"{column.name} ({column.gap:.3f})" for column in apart)
        return f"The {TITLES.get(main, main)} of groups differs by more than chance explains: {told}."
    if all(math.isnan(column.gap) for column in columns):
        return "No column has two groups that are large enough to compare."
    widest = max((column for column in columns if not math.isnan(column.gap)), key=lambda column: column.gap)
    largest = f"the largest is {widest.gap:.3f}, by {widest.name}"
    return f"No difference of the {TITLES.get(main, main)} is larger than chance explains; {largest}."


def _section(number: int, column: Column, main: str, least: int) -> Section:
    metrics = list(dict.fromkeys(metric for group in column.groups for metric in group.scores))
    metrics.sort(key=lambda metric: metric != main)
    rows = [
        [group.name, str(group.patients), str(group.images), *(_cell(group, metric) for metric in metrics)]
        for group in column.groups
    ]
    said = []
    if not math.isnan(column.gap):
        said.append(
            f"The largest difference of two groups' {TITLES.get(main, main)} is {column.gap:.3f} (p = {column.p:.2g}; "
            f"{column.corrected:.2g} after Holm's correction for all columns)."
        )
    if small := [group.name for group in column.groups if not group.scores]:
        said.append(f"With fewer than {least} patients, not shown: {', '.join(small)}.")
    if column.unknown:
        said.append(f"{column.unknown} images have no value in this column, and are in no group.")
    drawn = [_forest(number, column, main)] if any(group.scores for group in column.groups) else []
    heading = ["group", "patients", "images", *metrics]
    table = Table(f"Scores by {column.name}: mean, and 95 % interval over patients", heading, rows)
    whole = [_of_sets(column)] if any(group.of_set for group in column.groups) else []
    return Section(f"column-{number + 1}", f"By {column.name}", said, pictures=drawn, tables=[table, *whole])


def _of_sets(column: Column) -> Table:
    """Metrics of whole groups: a row for each metric, a column for each group, and the gap."""
    groups = [group for group in column.groups if group.of_set]
    rows = []
    for metric in groups[0].of_set:
        cells = [_with_bounds(group.of_set[metric].value, group.of_set[metric].bounds) for group in groups]
        gap = column.gaps.get(metric)
        apart = _with_bounds(gap.value, gap.bounds) if gap else MISSING
        apart += f": {gap.high} over {gap.low}" if gap and gap.value else ""
        rows.append([metric, *cells, apart])
    caption = f"Metrics of whole groups by {column.name}, with 95 % intervals"
    return Table(caption, ["metric", *(group.name for group in groups), "largest difference"], rows)


def _with_bounds(value: float, ends: tuple[float, float]) -> str:
    told = bounds(*ends)
    return shown(value) + (f" ({told})" if told != MISSING else "")


def _cell(group: Group, metric: str) -> str:
    found = group.scores.get(metric)
    if not found or math.isnan(found["mean"]):
        return MISSING
    return _with_bounds(found["mean"], (found["low"], found["high"]))


def _forest(number: int, column: Column, main: str) -> Picture:
    """Each group's mean and interval."""
    shown = [group for group in column.groups if group.scores and not math.isnan(group.scores[main]["mean"])]
    drawn = figure(0.8 + 0.35 * max(1, len(shown)))
    axes = drawn.subplots()
    for place, group in enumerate(reversed(shown)):
        found = group.scores[main]
        axes.plot(found["mean"], place, "o", color="C0")
        if not math.isnan(found["low"]):
            axes.plot([found["low"], found["high"]], [place, place], color="C0")
    axes.set_yticks(range(len(shown)), [f"{group.name} ({group.patients})" for group in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(TITLES.get(main, main))
    means = "; ".join(f"{group.name} {group.scores[main]['mean']:.3f}" for group in shown)
    return Picture(
        f"groups-{number + 1}",
        f"{TITLES.get(main, main)} by {column.name}".capitalize(),
        f"Mean of each group: {means}.",
        "Points are means, lines 95 % intervals over patients. In brackets, the number of patients.",
        drawn,
    )


def _reading(main: str, what: str) -> Section:
    said = [
        f"Scores of {what}, image by image; in segmentation, the mean over the classes.",
        "Intervals resample patients with all their images. The p-value says how often groups of these sizes differ as "
        "much if patients are dealt to them at random. A large p-value is no proof that groups fare alike: small ones "
        "hide large differences, as their intervals show.",
        "Metrics of whole groups, such as AUROC, are means over the classes. Their intervals are percentiles of "
        f"{RESAMPLES} resamples; there is none with fewer than {MIN_PATIENTS} patients, or where a metric could not be "
        "measured in a tenth of them. The difference is of the two groups that are furthest apart: with many groups, "
        "its interval is too hopeful.",
        "Groups can differ for other reasons than the one that names them, such as age or a scanner that goes with it.",
        "The numbers describe this site's patients. Before you share the page, ask your data protection officer.",
    ]
    return Section("reading", "How to read this page", said)


def _table(columns: Sequence[Column]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for column in columns:
        for group in column.groups:
            names = [sheet_cell(column.name), sheet_cell(group.name)]
            for metric, found in group.scores.items():
                values = ("" if math.isnan(found[key]) else f"{found[key]:.6g}" for key in ("mean", "low", "high"))
                writer.writerow([*names, metric, group.patients, group.images, *values])
            for metric, score in group.of_set.items():
                values = ("" if math.isnan(value) else f"{value:.6g}" for value in (score.value, *score.bounds))
                writer.writerow([*names, metric, group.patients, group.images, *values])
    return text.getvalue()
