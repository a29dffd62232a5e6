"""The runs under ``exps/``, and what their result files say: scores of every model, and the worst images first."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from relay.results import ADOPTED, GENERALIST, by_site, foreground, mean, read_rows
from relay.tasks import Task, of_metric

MOST = 200
"""How many images of a model are listed, the worst first."""
DEEP = 6
"""How many folders below ``exps/`` a run may be: a config's name may have several parts."""
PARTS = ("config.given.yaml", "compare.json", "checkpoints", "results", "logs")
"""One of these is in the folder of every run and comparison."""
Rows: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Scored:
    """A model's scores.

    Attributes:
        label: which model it is, for people; also its name in addresses.
        sites: score of each test set; NaN if it could not be measured.
        rows: the scores of single images.
    """

    label: str
    task: type[Task]
    sites: Mapping[str, float]
    rows: Rows

    def worst(self) -> list[dict[str, Any]]:
        """``site``, ``patient``, ``sample`` and ``score`` (the mean over classes) of at most :data:`MOST` images, the
        worst first; those that could not be measured are left out."""
        found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for row in self.rows:
            found[row["site"], row["patient"], row["sample"]].append(row["value"])
        cases = [(*key, mean(values)) for key, values in found.items()]
        there = [case for case in cases if not math.isnan(case[3])]
        there.sort(key=lambda case: (self.task.gain(case[3], 0.0), case))
        return [dict(zip(("site", "patient", "sample", "score"), case, strict=True)) for case in there[:MOST]]


def runs_in(exps: Path) -> list[Path]:
    """The folders of runs and comparisons, the newest first."""
    return sorted(_below(exps, DEEP), key=_when, reverse=True) if exps.is_dir() else []


def _below(folder: Path, deep: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
            continue
        if any((path / name).exists() for name in PARTS):
            yield path
            yield from _below(path / "runs", 1) if (path / "runs").is_dir() else ()
        elif deep > 1:
            yield from _below(path, deep - 1)


def _when(run: Path) -> float:
    there = [path for path in (report_of(run), run / "results" / "scores.csv", run) if path and path.exists()]
    return there[0].stat().st_mtime


def report_of(run: Path) -> Path | None:
    """The page of a run or a comparison; None if there is none yet."""
    return next((path for path in (run / "results" / "report.html", run / "report.html") if path.is_file()), None)


def scored(run: Path) -> list[Scored]:
    """Every model that a run has scores of: its own, those from outside, and what sites adopted.

    Raises:
        DataError: a file of scores is damaged.
    """
    found: dict[str, dict[tuple[str, str, str, str], Mapping[str, Any]]] = defaultdict(dict)
    for source, path in _files(run):
        for row in read_rows(path):
            if row["sample"] and of_metric(row["metric"]):
                found[_label(source, row)][row["site"], row["patient"], row["sample"], row["class"]] = row
    return [_scored(label, [*rows.values()]) for label, rows in found.items()]


def _files(run: Path) -> Iterator[tuple[str, Path]]:
    """Where scores are: what they are from, and the file. What was measured later comes later."""
    results = run / "results"
    files = [("", results / "scores.csv"), ("", results / "samples.csv")]
    files += [(path.parent.name, path) for path in sorted(results.glob("*/samples.csv"))]
    files += [("", path) for path in sorted(run.glob("adopted/*/scores.csv"))]
    yield from ((source, path) for source, path in files if path.is_file())


def _label(source: str, row: Mapping[str, Any]) -> str:
    leg = "" if row["leg"] is None else f"leg {row['leg']}, {row['trained']}"
    who = f"{row['site']}, chosen" if row["model"] == ADOPTED else leg
    kind = "" if row["model"] in (ADOPTED, "") else row["model"]
    return ", ".join(part for part in (who, kind, source if source.startswith(("received", "bundle")) else "") if part)


def _scored(label: str, rows: Rows) -> Scored:
    task = next(task for row in rows if (task := of_metric(row["metric"])))
    return Scored(label, task, by_site(rows), [*foreground(rows)])


def sites_of(models: Iterable[Scored]) -> list[str]:
    """Every test set, in order of appearance."""
    return list(dict.fromkeys(site for model in models for site in model.sites))


def best_of(models: Sequence[Scored], site: str) -> float | None:
    """The best score on a test set; None if there is none, or only one model has one."""
    there = [m.sites[site] for m in models if not math.isnan(m.sites.get(site, math.nan))]
    return models[0].task.best(there) if len(there) > 1 else None


def last_generalist(models: Sequence[Scored]) -> str:
    """The label of the model that is looked at first: the last leg's generalist, else the last of all."""
    labels = [model.label for model in models]
    return next((label for label in reversed(labels) if GENERALIST in label), labels[-1] if labels else "")
