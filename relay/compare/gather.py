"""Read a comparison's runs and write the combined results: ``compare.json`` and ``compare.csv``."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from relay.compare import table
from relay.compare.jobs import Job
from relay.compare.running import RUNS, Failed, paths_of, reason_of
from relay.compare.table import ComparedRun, Sample
from relay.errors import RelayError
from relay.files import write_text
from relay.results import cell, mean, no_nan, of_model, read_rows

log = logging.getLogger(__name__)
COLUMNS = ("strategy", "order", "seed", "leg", "site", "metric", "value")
GAPS = ("to_joint", "to_local")
NUMBERS = ("mean", "forgetting", "backward", "forward", "seconds", "bytes")
LAPS = "{label} goes round {laps} times with 1/{laps} of the budget each, so that all strategies see as many images."


def read_run(job: Job, root: Path) -> ComparedRun:
    """A finished run's numbers, from its folder.

    Raises:
        RelayError: one of its files is missing or damaged.
    """
    from relay.simulate import apart, sites_of, summarise

    paths = paths_of(job, root)
    summary = summarise(job.study, paths)
    names = [str(job.study.datasets[task_id].options.task_name) for task_id in job.ids]
    final = {site: summary["final"].get(site, float("nan")) for site in names}
    numbers = {
        "label": job.label,
        "strategy": job.label,
        "order": list(job.order),
        "seed": job.seed,
        "folder": f"{RUNS}/{job.folder}",
        "mean": mean(final.values()),
        "forgetting": summary["forgetting"],
        "backward": summary["relay"]["backward"],
        "final": final,
        "matrix": summary["matrix"],
        "seconds": summary["relay"]["seconds"],
        "bytes": summary["relay"]["bytes"],
    }
    rows = of_model(read_rows(paths.root / "results" / "scores.csv"))
    alone = apart(job.study.legs)
    return ComparedRun(numbers, _scores(rows, names, alone), () if alone else sites_of(job.study.legs))


def read_runs(jobs: Sequence[Job], root: Path, failed: Sequence[Failed]) -> tuple[list[ComparedRun], list[Failed]]:
    """All finished, intact runs, each compared with local and joint; and the failed or damaged ones."""
    lost, runs = list(failed), []
    for job in jobs:
        if job.folder not in {problem.job.folder for problem in failed}:
            try:
                runs.append(read_run(job, root))
            except RelayError as error:
                log.error("%s: %s", job, error)
                said = f"{reason_of(error)}\n    {error.advice()}"
                lost.append(Failed(job, said, root / "logs" / "compare.log", type(error).__name__))
    by = _by(jobs, runs)
    return [table.beside(run, by) for run in runs], lost


def _by(jobs: Sequence[Job], runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    """Strategy → its runs, in the requested order."""
    labels = dict.fromkeys(job.label for job in jobs)
    return {label: [run for run in runs if run.summary["label"] == label] for label in labels}


def _scores(rows: Sequence[Mapping[str, Any]], names: Sequence[str], alone: bool) -> dict[Sample, float]:
    """Scores of the last leg's model, or of each site's own."""
    last = max(row["leg"] for row in rows)
    first: dict[str, str] = {}
    found: dict[Sample, float] = {}
    for row in rows:
        background = first.setdefault(row["site"], row["class"])
        ends = row["trained"] == row["site"] if alone else row["leg"] == last
        if ends and row["site"] in names and row["class"] != background:
            found[row["site"], row["patient"], row["sample"], row["class"]] = row["value"]
    return found


def comparison(
    jobs: Sequence[Job], root: Path, runs: Sequence[ComparedRun], failed: Sequence[Failed], reference: str
) -> dict[str, Any]:
    """The combined results of the runs; write ``compare.json`` and ``compare.csv``.

    Args:
        runs, failed: from :func:`read_runs`.
        reference: the strategy to test the others against.
    """
    by = _by(jobs, runs)
    tests, site_tests = table.against(by, reference)
    shared = {job.label: job.laps for job in jobs if job.laps > 1}
    count = sum(not isnan(test["p"]) for test in tests)
    parts = [table.RULE, table.TESTS.format(reference=reference, count=f"{count} tests" if count != 1 else "1 test")]
    whole = {
        "study": jobs[0].study.name,
        "method": " ".join([*parts, *(LAPS.format(label=label, laps=laps) for label, laps in shared.items())]),
        "reference": reference,
        "planned": len(jobs),
        "failed": [{"folder": f"{RUNS}/{f.job.folder}", "message": _where(f, root)} for f in failed],
        "runs": [run.summary for run in runs],
        "table": [table.row(label, by) for label in by],
        "tests": tests,
        "site_tests": site_tests,
    }
    write_text(root / "compare.json", json.dumps(no_nan(whole), indent=1) + "\n")
    write_text(root / "compare.csv", _csv(runs))
    return whole


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
        head = (run.summary["label"], " ".join(run.summary["order"]), run.summary["seed"])
        writer.writerows((*head, *number) for number in _numbers(run.summary))
    return text.getvalue()


def _numbers(summary: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    cells = [(leg, site, "dice", value) for leg, row in summary["matrix"].items() for site, value in row.items()]
    cells += [("", site, "final dice", value) for site, value in summary["final"].items()]
    cells += [("", site, name.replace("_", " "), gap) for name in GAPS for site, gap in summary[name].items()]
    cells += [("", "", name, summary[name]) for name in NUMBERS]
    for leg, site, metric, value in cells:
        yield leg, site, metric, cell(value)
