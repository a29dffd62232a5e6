"""Two CSV tables, paired by sample: the predictions of a classifier or a regression, and the truth."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from relay.data import by_regex, refuse
from relay.errors import DataError, UserError
from relay.metrics import brier, classification as classes_of, metrics, regression as numbers_of
from relay.score.result import Score, row

Table = dict[str, list[str]]
"""Sample → its cells."""
ADVICE = "A table is a CSV file with a header line, whose first name is 'sample', and one line for each sample."


def score_classes(predictions: Path, truth: Path, patients: str | None = None, more: tuple[str, ...] = ()) -> Score:
    """Score a table of probabilities.

    Args:
        predictions: ``sample``, then a column of probabilities for each class, with its name.
        truth: ``sample``, and the name of its class.
        patients: a regular expression that finds the patient in a sample's name. None: every sample is one.
        more: metrics beside the installed ones, each ``module:Class``.

    Raises:
        UserError, DataError: the tables can't be read or don't match; all lines are named or counted.
    """
    known = metrics(more, "classification")
    (_, *names), said = _read(predictions)
    _, true = _read(truth, 1)
    if len(names) < 2:
        raise DataError(
            f"{predictions}: {len(names)} column of probabilities; there must be one for each class", ADVICE
        )
    problems = _alone(predictions, said, truth, true)
    samples = [sample for sample in said if sample in true]
    probs = torch.tensor([[_number(cell) for cell in said[sample]] for sample in samples], dtype=torch.float64)
    for sample in samples:
        odd = [cell for cell in said[sample] if math.isnan(_number(cell)) and cell.lower() != "nan"]
        problems += [f"{predictions}: {sample}: '{cell}' is not a number" for cell in odd]
    if samples and not problems:
        problems += [f"{predictions}: {samples[at]}: {text}" for at, text in classes_of.flaws(probs, names)]
    unknown = [sample for sample in samples if true[sample][0] not in names]
    problems += [f"{truth}: {s}: class '{true[s][0]}' is not one of {', '.join(names)}" for s in unknown]
    people = _people(samples, patients, problems)
    refuse(problems, f"{predictions} can't be scored")
    target = torch.tensor([names.index(true[sample][0]) for sample in samples])
    found = classes_of.classification(probs, target, more)
    study, right = predictions.stem, (probs.argmax(1) == target).double().tolist()
    rows = [
        row(study, people[sample], sample, true[sample][0], metric, value)
        for sample, *values in zip(samples, right, brier(probs, target).tolist(), strict=True)
        for metric, value in zip(("accuracy", "brier"), values, strict=True)
    ]
    lines = [{"class": "", "metric": metric, "value": found[metric]} for metric in known if not known[metric].per_class]
    for metric in (name for name in known if known[name].per_class):
        each = zip(names, found[metric], strict=True)
        lines += [{"class": name, "metric": metric, "value": value} for name, value in each]
        lines.append({"class": "mean", "metric": metric, "value": found["mean"][metric], "over_classes": True})
    missing = sorted(true.keys() - said.keys())
    about = {"missing": missing, "classes": names, "bins": found["bins"], "confusion": found["confusion"]}
    return _score(study, "classification", classes_of.RULE, rows, lines, people, about)


def score_numbers(predictions: Path, truth: Path, patients: str | None = None, more: tuple[str, ...] = ()) -> Score:
    """Score a table of numbers: ``sample`` and a value, both of them.

    Raises:
        UserError, DataError: the tables can't be read or don't match; all lines are named or counted.
    """
    metrics(more, "regression")
    _, said = _read(predictions, 1)
    _, true = _read(truth, 1)
    problems = _alone(predictions, said, truth, true)
    samples = [sample for sample in said if sample in true]
    for path, table in ((predictions, said), (truth, true)):
        wrong = [sample for sample in samples if not math.isfinite(_number(table[sample][0]))]
        problems += [f"{path}: {sample}: '{table[sample][0]}' is not a finite number" for sample in wrong]
    people = _people(samples, patients, problems)
    refuse(problems, f"{predictions} can't be scored")
    found, right = ([_number(table[sample][0]) for sample in samples] for table in (said, true))
    study = predictions.stem
    rows = [
        row(study, people[sample], sample, "", "error", a - b)
        for sample, a, b in zip(samples, found, right, strict=True)
    ]
    lines = [{"class": "", "metric": m, "value": v} for m, v in numbers_of.regression(found, right, more).items()]
    return _score(
        study, "regression", numbers_of.RULE, rows, lines, people, {"missing": sorted(true.keys() - said.keys())}
    )


def _score(
    study: str,
    task: str,
    rule: str,
    rows: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    people: dict[str, str],
    about: dict[str, Any],
) -> Score:
    """The score of the whole set is a row without a sample."""
    whole = [line for line in lines if not line.get("over_classes")]
    rows += [row(study, "", "", line["class"], line["metric"], line["value"]) for line in whole]
    counts = {"samples": len(people), "patients": len(set(people.values()))}
    return Score(rows, {"study": study, "task": task, "rule": rule, **counts, **about, "rows": lines})


def _read(path: Path, cells: int | None = None) -> tuple[list[str], Table]:
    """The names of the columns, and the lines by sample."""
    if not path.is_file():
        raise UserError(f"file not found: {path}", ADVICE)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *lines = [[cell.strip() for cell in line] for line in csv.reader(file) if line] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as a table: {error}", ADVICE) from error
    if not head or head[0] != "sample" or len(head) != len(set(head)) or len(head) != (cells or len(head) - 1) + 1:
        wanted = "sample and one more" if cells else "sample, and one for each class"
        raise DataError(f"{path}: its columns are {', '.join(head) or 'none'}; they must be {wanted}", ADVICE)
    problems, table = [], {}
    for line in lines:
        if line[0] in table:
            problems.append(f"{line[0]} appears twice")
        if len(line) != len(head):
            problems.append(f"{line[0]}: {len(line)} cells for {len(head)} names")
        if not line[0]:
            problems.append("a line has no sample")
        table[line[0]] = line[1:]
    refuse(problems, str(path))
    if not table:
        raise DataError(f"{path}: no samples", ADVICE)
    return head, table


def _alone(predictions: Path, said: Table, truth: Path, true: Table) -> list[str]:
    """Predictions without a truth; if there are any, also truths without a prediction, as names may be misspelt."""
    alone = [f"{truth}: no truth for {sample}" for sample in said.keys() - true.keys()]
    others = [f"{predictions}: no prediction for {sample}" for sample in true.keys() - said.keys()]
    return sorted(alone + others) if alone else []


def _people(samples: Sequence[str], pattern: str | None, problems: list[str]) -> dict[str, str]:
    """The patient of each sample."""
    people = {sample: sample if pattern is None else by_regex(pattern, sample) or "" for sample in samples}
    problems += [f"--patients '{pattern}' finds no patient in {sample}" for sample, who in people.items() if not who]
    return people


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
