"""Read a comparison's runs and write the combined results: ``compare.json`` and ``compare.csv``."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from relay.compare import gains, table
from relay.compare.compared import ComparedRun, Sample
from relay.compare.jobs import Job
from relay.compare.running import RUNS, Failed, paths_of, reason_of
from relay.errors import RelayError
from relay.files import write_text
from relay.measures import AT_HOME, MEASURES, counted, measured
from relay.numbers import sheet_cell
from relay.results import backward, cell, foreground, mean, no_nan, read_rows
from relay.tasks import named

log = logging.getLogger(__name__)
COLUMNS = ("strategy", "order", "left_out", "seed", "leg", "site", "metric", "value")
GAPS = ("to_local", "to_joint", "elsewhere_to_joint")
NUMBERS = ("mean", "forgetting", "backward", "forward", "seconds", "bytes")
STEPS = "{label} makes {steps:g} times the budget's steps in each leg, and more when sites adopt a model."
STANDS_IN = "Validation images stand in for the test images of {sites}: split: validation."
FOLDS = (
    "Cross-validation: the patients of each site are dealt into {of} folds, and each is tested by models that were "
    "trained without its fold. A run is all of its folds together, each patient once. The models of different folds "
    "share most of their training images, so intervals and p-values, which are over patients, don't say how much "
    "training varies."
)
CHOSEN = "chosen inside"
"""The label of the runs whose setting was chosen inside each fold."""
NESTED = (
    "Chosen inside: in each fold, the setting with the best {score} at home over {of} inner folds of the patients that "
    "the fold leaves to train on, tested on the patients of the fold, whom the choice has not seen."
)
LAPS = "{label} goes round {laps} times with 1/{laps} of the budget each, so that all strategies see as many images."


def read_run(folds: Sequence[Job], root: Path, label: str | None = None) -> ComparedRun:
    """A finished run's numbers, from its folder; of a cross-validation, those of its folds together.

    Each patient is in the test images of one fold, so together the scores of all folds are those of all patients, each
    predicted by models that were not trained on it.

    Args:
        label: of the run; None: its strategy's.

    Raises:
        RelayError: one of its files is missing or damaged.
    """
    from relay.simulate import apart, outcome, sites_of, summarise

    job, places = folds[0], [paths_of(each, root) for each in folds]
    legs, task = job.study.legs, job.study.task
    alone, trained = apart(legs), sites_of(legs)
    parts = [summarise(each.study, paths) for each, paths in zip(folds, places, strict=True)]
    rows = [row for paths in places for row in read_rows(paths.root / "results" / "scores.csv")]
    whole = parts[0]
    if len(folds) > 1:
        found = outcome(rows, legs, task)
        after = math.nan if alone else backward(found["matrix"], trained, type(task))
        whole = found | {"measures": measured(rows, trained, alone, type(task)), "relay": {"backward": after}}
    names = [str(job.study.datasets[task_id].options.task_name) for task_id in job.ids]
    measures = whole["measures"]
    final = {site: measures[AT_HOME].get(site, math.nan) for site in names}
    numbers = {
        "label": label or job.label,
        "strategy": label or job.label,
        "task": task.name,
        "order": list(job.order),
        "left_out": job.left_out and job.left_out[0],
        "seed": job.seed,
        "folder": f"{RUNS}/{job.folder}",
        "mean": mean(final.values()),
        "forgetting": whole["forgetting"],
        "backward": whole["relay"]["backward"],
        "final": final,
        "measures": measures,
        "matrix": whole["matrix"],
        "seconds": sum(part["relay"]["seconds"] for part in parts),
        "bytes": max(part["relay"]["bytes"] for part in parts),
    }
    if job.fold:
        numbers["folds"] = [_fold(each, part) for each, part in zip(folds, parts, strict=True)]
    home = counted(rows, trained, alone)[AT_HOME]
    return ComparedRun(numbers, _scores(home, names), trained, alone)


def _fold(job: Job, part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "fold": job.fold[-1],
        "setting": job.label,
        "folder": f"{RUNS}/{job.folder}",
        "mean": mean(part["measures"][AT_HOME].values()),
    }


def read_runs(jobs: Sequence[Job], root: Path, failed: Sequence[Failed]) -> tuple[list[ComparedRun], list[Failed]]:
    """All finished, intact runs, each compared with local and joint; and the failed or damaged ones. A run of several
    folds needs all of them: without one, its patients would be missing."""
    lost = list(failed)
    without = {problem.job.whole for problem in failed}
    whole: dict[Hashable, tuple[list[Job], ComparedRun]] = {}
    for name in dict.fromkeys(job.whole for job in jobs):
        folds = [job for job in jobs if job.whole == name]
        if name in without:
            continue
        try:
            whole[name] = folds, read_run(folds, root)
        except RelayError as error:
            log.error("%s: %s", folds[0], error)
            said = f"{reason_of(error)}\n    {error.advice()}"
            lost.append(Failed(folds[0], said, root / "logs" / "compare.log", type(error).__name__))
    runs = [run for folds, run in whole.values() if not folds[0].inner]
    runs += [read_run(folds, root, CHOSEN) for folds in chosen_inside(jobs, whole)]
    by = _by(labels_in(jobs), runs)
    return [table.beside(run, by) for run in runs], lost


def labels_in(jobs: Sequence[Job]) -> list[str]:
    """What is compared: the strategies and, with inner folds, the choice among them."""
    return [*dict.fromkeys(job.label for job in jobs), *([CHOSEN] if any(job.inner for job in jobs) else [])]


def chosen_inside(
    jobs: Sequence[Job], whole: Mapping[Hashable, tuple[Sequence[Job], ComparedRun]]
) -> Iterator[list[Job]]:
    """For each order and seed, every fold's run with the setting that is best over the fold's inner folds: of equals,
    the first. A choice lacks nothing: if a run of any fold has failed, there is none.

    Args:
        whole: the finished runs, with their jobs.
    """
    inner = [(folds, run) for folds, run in whole.values() if folds[0].inner]
    outer = [job for job in jobs if not job.inner and job.whole in whole]
    for way in dict.fromkeys((job.order, job.seed) for job in jobs if job.inner):
        found = []
        for fold in dict.fromkeys(job.fold for job in jobs if not job.inner):
            here = [
                (folds[0].label, run)
                for folds, run in inner
                if (folds[0].order, folds[0].seed) == way and folds[0].fold[:1] == fold
            ]
            scored = [one for one in here if not isnan(one[1].summary["mean"])]  # a missing score can't be compared
            if len(scored) < len({job.label for job in jobs}):
                break
            label, _ = here[0][1].task.best(here, key=lambda one: one[1].summary["mean"])
            found += [job for job in outer if (job.order, job.seed) == way and (job.label, job.fold) == (label, fold)]
        else:
            if len(found) == len({job.fold for job in jobs if not job.inner}):
                yield found


def _by(labels: Sequence[str], runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    """Strategy → its runs, in the requested order."""
    return {label: [run for run in runs if run.summary["label"] == label] for label in labels}


def _scores(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[Sample, float]:
    own = (row for row in foreground(rows) if row["site"] in names)
    return {(row["site"], row["patient"], row["sample"], row["class"]): row["value"] for row in own}


def comparison(
    jobs: Sequence[Job], root: Path, runs: Sequence[ComparedRun], failed: Sequence[Failed], reference: str
) -> dict[str, Any]:
    """The combined results of the runs; write ``compare.json`` and ``compare.csv``.

    Args:
        runs, failed: from :func:`read_runs`.
        reference: the strategy to test the others against.
    """
    labels = labels_in(jobs)
    by = _by(labels, [run for run in runs if not run.summary["left_out"]])
    away = gains.away(_by(labels, [run for run in runs if run.summary["left_out"]]), by)
    tests, site_tests = table.against(by, reference)
    shared = {job.label: job.laps for job in jobs if job.laps > 1}
    more = {job.label: total for job in jobs if (total := sum(job.study.legs[0].strategy.shares)) > 1}
    count = sum(not isnan(test["p"]) for test in tests)
    task, score = jobs[0].study.task, jobs[0].study.task.score_name
    told = table.TESTS.format(reference=reference, score=score, count=f"{count} tests" if count != 1 else "1 test")
    parts = [table.rule(task), told]
    whole = {
        "study": jobs[0].study.name,
        "task": task.name,
        "method": " ".join(
            [
                *parts,
                *stand_ins(jobs),
                *cross_validated(jobs),
                *(LAPS.format(label=label, laps=laps) for label, laps in shared.items()),
                *(STEPS.format(label=label, steps=steps) for label, steps in more.items()),
            ]
        ),
        "steps": more,
        "reference": reference,
        "planned": len({job.whole for job in jobs if not job.inner})
        + len({(job.order, job.seed) for job in jobs if job.inner}),
        "failed": [{"folder": f"{RUNS}/{f.job.folder}", "message": _where(f, root)} for f in failed],
        "runs": [run.summary for run in runs],
        "table": [table.row(label, by, away) for label in by],
        "elsewhere": gains.elsewhere(by, away),
        "tests": tests,
        "site_tests": site_tests,
    }
    write_text(root / "compare.json", json.dumps(no_nan(whole), indent=1) + "\n")
    write_text(root / "compare.csv", _csv(runs))
    return whole


def stand_ins(jobs: Sequence[Job]) -> list[str]:
    """A sentence that names the sites whose validation images stand in for test images; none if there are none."""
    given = {data.options.task_name: data.options for job in jobs for data in job.study.datasets.values()}
    sites = [str(name) for name, options in given.items() if options.split == "validation"]
    return [STANDS_IN.format(sites=", ".join(sites))] if sites else []


def cross_validated(jobs: Sequence[Job]) -> list[str]:
    """A sentence that says how folds are made into one run; none without folds."""
    if not jobs[0].fold:
        return []
    said = [FOLDS.format(of=jobs[0].fold[0].partition("/")[2])]
    if jobs[-1].inner:
        said.append(NESTED.format(score=jobs[0].study.task.score_name, of=jobs[-1].fold[1].partition("/")[2]))
    return said


def _where(problem: Failed, root: Path) -> str:
    """The kind of error and its log; not its message, which may name files and samples: others will see this file."""
    log_file, whole = problem.log.resolve(), root.resolve()
    shown = log_file.relative_to(whole).as_posix() if log_file.is_relative_to(whole) else log_file.name
    return f"{problem.kind}: see {shown}"


def _csv(runs: Sequence[ComparedRun]) -> str:
    """A row for each number of each run."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for run in runs:
        about = run.summary
        head = (about["label"], " ".join(about["order"]), about["left_out"] or "", about["seed"])
        writer.writerows(map(sheet_cell, (*head, *number)) for number in _numbers(run.summary))
    return text.getvalue()


def _numbers(summary: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    metric = named(summary.get("task")).primary.name
    cells = [(leg, site, metric, value) for leg, row in summary["matrix"].items() for site, value in row.items()]
    measures = {name: summary["measures"][name] for name in MEASURES}
    measures |= {f"generalist {name}": values for name, values in summary["measures"]["generalist"].items()}
    cells += [("", s, name.replace("_", " "), value) for name, row in measures.items() for s, value in row.items()]
    cells += [("", site, name.replace("_", " "), gap) for name in GAPS for site, gap in summary[name].items()]
    cells += [("", "", name, summary[name]) for name in NUMBERS]
    for leg, site, what, value in cells:
        yield leg, site, what, cell(value)
