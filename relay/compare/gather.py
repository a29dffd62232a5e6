"""Read a comparison's runs and write what they say together: ``compare.json`` and ``compare.csv``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.compare import table
from relay.compare.jobs import Job
from relay.compare.running import RUNS, Failed, place_of
from relay.compare.table import Run, Sample
from relay.files import write_text
from relay.results import mean, no_nan, read_rows

COLUMNS = ("strategy", "order", "seed", "leg", "site", "metric", "value")
LAPS = "{label} goes round {laps} times with 1/{laps} of the budget each, so that all strategies see as many images."


def read_run(job: Job, root: Path) -> Run:
    """A finished run's numbers, from its folder."""
    from relay.simulate import apart, summarise

    place = place_of(job, root)
    summary = summarise(job.study, place)
    names = [str(job.study.datasets[task_id].options.task_name) for task_id in job.ids]
    final = {site: summary["final"].get(site, math.nan) for site in names}
    told = {
        "label": job.label,
        "strategy": job.label,
        "order": list(job.order),
        "seed": job.seed,
        "folder": f"{RUNS}/{job.folder}",
        "mean": mean(final.values()),
        "forgetting": summary["forgetting"],
        "final": final,
        "matrix": summary["matrix"],
        "seconds": summary["relay"]["seconds"],
        "bytes": summary["relay"]["bytes"],
    }
    rows = read_rows(place.root / "results" / "scores.csv")
    return Run(told, _scores(rows, names, apart(job.study.legs)))


def _scores(rows: Sequence[Mapping[str, Any]], names: Sequence[str], alone: bool) -> dict[Sample, float]:
    """Of the last leg's model, or of each site's own."""
    last = max(row["leg"] for row in rows)
    first: dict[str, str] = {}
    found: dict[Sample, float] = {}
    for row in rows:
        background = first.setdefault(row["site"], row["class"])
        ends = row["trained"] == row["site"] if alone else row["leg"] == last
        if ends and row["site"] in names and row["class"] != background:
            found[row["site"], row["patient"], row["sample"], row["class"]] = row["value"]
    return found


def comparison(jobs: Sequence[Job], root: Path, failed: Sequence[Failed], reference: str) -> dict[str, Any]:
    """Gather all runs that are finished; writes ``compare.json`` and ``compare.csv``.

    Args:
        reference: the strategy that the others are tested against.
    """
    lost = {problem.job.folder for problem in failed}
    runs = [read_run(job, root) for job in jobs if job.folder not in lost]
    by = {label: [run for run in runs if run.told["label"] == label] for label in dict.fromkeys(j.label for j in jobs)}
    tests = table.against(by, reference)
    shared = {job.label: job.laps for job in jobs if job.laps > 1}
    count = sum(not math.isnan(test["p"]) for test in tests)
    parts = [table.RULE, table.TESTS.format(reference=reference, count=f"{count} tests" if count != 1 else "1 test")]
    told = {
        "study": jobs[0].study.name,
        "method": " ".join([*parts, *(LAPS.format(label=label, laps=laps) for label, laps in shared.items())]),
        "planned": len(jobs),
        "failed": [{"folder": f"{RUNS}/{f.job.folder}", "message": f.message} for f in failed],
        "runs": [run.told for run in runs],
        "table": [table.row(label, by) for label in by],
        "tests": tests,
    }
    write_text(root / "compare.json", json.dumps(no_nan(told), indent=1) + "\n")
    write_text(root / "compare.csv", _csv(runs))
    return told


def _csv(runs: Sequence[Run]) -> str:
    """A row for each number of each run."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for run in runs:
        head = (run.told["label"], " ".join(run.told["order"]), run.told["seed"])
        writer.writerows((*head, *number) for number in _numbers(run.told))
    return text.getvalue()


def _numbers(told: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    cells = [(leg, site, "dice", value) for leg, row in told["matrix"].items() for site, value in row.items()]
    cells += [("", site, "final dice", value) for site, value in told["final"].items()]
    cells += [("", "", name, told[name]) for name in ("mean", "forgetting", "seconds", "bytes")]
    for leg, site, metric, value in cells:
        yield leg, site, metric, "" if math.isnan(value) else round(value, 6)
