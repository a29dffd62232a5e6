"""The sections of a run's page. Each is a function that takes the run and returns a :class:`Section`, or None.

They are entry points of the group ``relay.report_sections``: whatever is installed there is on the page, after these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay import registry
from relay.bundle import schemas
from relay.config import check
from relay.report.gather import Run
from relay.report.plot_style import Picture
from relay.report.tables import Table
from relay.report.tiles import ShownCase, Tile

ORDER = (
    "run",
    "warnings",
    "matrix",
    "relay",
    "scores",
    "answers",
    "curves",
    "calibration",
    "cases",
    "explanations",
    "custody",
)
"""A page begins with these; others follow by name."""
ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Section:
    """A part of the page. All text is escaped.

    Attributes:
        id: names it in addresses: a letter, then letters, digits, ``-`` or ``_``.
        title: its heading.
        said: plain paragraphs.
        pictures, tables: in this order, after the paragraphs.
        words: terms and what they mean.
        cases: overlays of test images, by site; ``tiles``: other images of patients.
        alerts: what is wrong; shown in red, before all else.
    """

    id: str
    title: str
    said: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    words: Sequence[tuple[str, str]] = ()
    cases: Mapping[str, Sequence[ShownCase]] = field(default_factory=dict)
    tiles: Sequence[Tile] = ()
    alerts: Sequence[str] = ()


def sections(run: Run) -> Iterator[Section]:
    """Every section that has something to show: installed ones, then those that the run's config names.

    Raises:
        UserError: a plug-in section can't be loaded, failed, or returned something else.
    """
    found: dict[str, Callable[[Run], Any]] = registry.find_all("report_sections", own(run.given))
    first = [name for name in ORDER if name in found]
    seen: set[str] = set()
    for name in [*first, *(name for name in found if name not in first)]:
        with registry.blamed(f"report section '{name}'", found[name]):
            made = found[name](run)
            if made is not None:
                _check(made, seen)
        if made is not None:
            yield made


def own(given: Mapping[str, Any]) -> list[str]:
    """The sections that a config names."""
    results = given.get("results")
    named = results.get("report_sections") if isinstance(results, Mapping) else None
    return [str(name) for name in named] if isinstance(named, list | tuple) else []


def _check(made: object, seen: set[str]) -> None:
    if not isinstance(made, Section):
        raise TypeError(f"it gave {type(made).__name__}; it must give a relay.report.Section, or None")
    if not ID.fullmatch(made.id) or made.id in seen:
        raise ValueError(f"its id '{made.id}' is not plain, or is another section's")
    seen.add(made.id)


def what_was_run(run: Run) -> Section:
    """Strategy, order, seeds, software, settings."""
    from relay.report import tables

    order = " → ".join(run.scores.trained[leg] for leg in sorted(run.scores.trained))
    seeds = {str(leg.record["config"].get("random_seed", "0")) for leg in run.legs if leg.record.get("config")}
    lines = [f"Strategy: {run.summary.get('strategy')}."]
    lines += [_unfinished(run)] if not run.finished else []
    lines += [f"Legs, in their order: {order}."] if order else []
    lines += [f"Test images of: {', '.join(run.sites)}."] if run.sites else []
    lines += [f"Random seed: {', '.join(sorted(seeds))}."] if seeds else []
    stated = [(run.label(leg.number), check(schemas.Stated, leg.record.get("privacy"))[0]) for leg in run.legs]
    lines += [f"Differential privacy of leg {label}: {said}." for label, said in stated if said]
    listed = [tables.environment(run), tables.spent(run), tables.config(run.legs)]
    return Section("run", "What was run", lines, (), [table for table in listed if table])


def _unfinished(run: Run) -> str:
    legs = ", ".join(map(run.label, sorted(run.matrix)))
    of = f" of {count(len(run.planned), 'leg')}" if run.planned else ""
    return f"This run is not finished, or was not summed up: the page is made of what was tested: leg {legs}{of}."


def warnings(run: Run) -> Section | None:
    """The warnings shown before training."""
    return Section("warnings", "Warnings before training", alerts=run.doubts) if run.doubts else None


def matrix(run: Run) -> Section:
    """Legs × sites."""
    from relay.report import figures, tables

    return Section("matrix", "Every leg at every site", (), _one(figures.matrix(run)), [tables.matrix(run)])


def relay_numbers(run: Run) -> Section:
    """The three measures, forgetting, the experts, and what each site adopted."""
    from relay.report import experts, tables

    return Section("relay", "The relay in numbers", tables=[tables.relay(run), *experts.tables(run)])


def scores(run: Run) -> Section:
    """Every metric."""
    from relay.report import figures, tables

    name = run.task.score_name if not run.task.dense else run.task.title()
    alone = f"Only {name} was measured so far: python predict_test.py adds the other metrics, and intervals."
    said = _rules(run.evaluation) or [run.stale or alone]
    drawn = _one(figures.distributions(run))
    return Section("scores", "Scores", said, drawn, list(tables.metrics(run)), tables.glossary(run))


def answers(run: Run) -> Section | None:
    """Of a task without masks, what was predicted: ROC curves and confusion, or predictions against the truth."""
    if run.task.dense:
        return None
    from relay.report.answers import figures

    drawn = figures(run)
    return Section("answers", "Predictions", pictures=drawn) if drawn else None


def _rules(evaluation: Mapping[str, Any]) -> list[str]:
    rules = [_as_sentence(str(evaluation[key])) for key in ("rule", "interval") if evaluation.get(key)]
    if evaluation.get("tolerance") is not None:
        rules.append(f"The tolerance of NSD is {evaluation['tolerance']:g}, in the unit of the site's distances.")
    return rules


def curves(run: Run) -> Section:
    """Losses and validation scores."""
    from relay.report import figures
    from relay.report.curves import read_curves

    drawn = figures.curves(run, read_curves(run))
    return Section("curves", "Learning curves", () if drawn else ["No curves were recorded."], _one(drawn))


def calibration(run: Run) -> Section | None:
    """Reliability diagrams and calibration errors."""
    from relay.report import figures, tables

    if run.task.likelihood != "categorical":  # of labels and numbers, none is measured
        return None
    drawn = figures.calibration(run)
    untested = run.stale or "Not measured yet: python predict_test.py adds it."
    listed = [tables.calibration(run)] if drawn else []
    return Section("calibration", "Calibration", () if drawn else [untested], _one(drawn), listed)


def cases(run: Run) -> Section | None:
    """Images of patients, if they were asked for."""
    return Section("cases", "Best, median and worst images", cases=run.cases) if run.cases else None


def custody(run: Run) -> Section:
    """Who had the model when."""
    from relay.report import chain_figure, tables
    from relay.report.custody import read_custody

    known = read_custody(run)
    drawn = [chain_figure.custody(c, f"custody-{n}" if n else "custody") for n, c in enumerate(known.chains)]
    none = ["Nothing was handed over: there is one leg, or each model starts from nothing."]
    said = () if known.chains or known.broken else none
    alerts = [f"The chain of custody can't be verified: {why}" for why in known.broken]
    listed = [tables.custody(chain) for chain in known.chains]
    return Section("custody", "Chain of custody", said, drawn, listed, alerts=alerts)


def count(number: int, what: str) -> str:
    """``1 leg``, ``2 legs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _one(picture: Picture | None) -> list[Picture]:
    return [picture] if picture else []
