"""The tables of a run's page. A cell that was not measured is :data:`relay.report.screen.MISSING`, never 0."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import Any

from relay.data import DatasetOptions
from relay.numbers import signed
from relay.report.chain_figure import size
from relay.report.custody import Hop
from relay.report.gather import LegRecord, Run, number
from relay.report.screen import MISSING, number as shown
from relay.results import mean

UNKNOWN = "unknown"
"""Of a hand-over: nobody here knows."""


@dataclass(frozen=True)
class Table:
    """A table of a page; the first ``heads`` cells of a row are its header.

    Attributes:
        folded: whether it is collapsed at first.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    heads: int = 1
    folded: bool = False
    numeric: bool = True
    notes: Sequence[str] = field(default_factory=tuple)


def matrix(run: Run) -> Table:
    """Legs × sites, and each leg's mean over the sites with training, as in the summary."""
    external = (run.summary.get("relay") or {}).get("external") or {}
    rows = []
    for leg in sorted(run.matrix):
        values = {site: run.matrix[leg].get(site, math.nan) for site in run.sites}
        there = [value for site, value in values.items() if site not in external and not math.isnan(value)]
        rows.append([run.label(leg), *map(shown, [*values.values(), mean(there)])])
    return Table(
        f"{capital(run.task.score_name)} of the model after each leg, at each site", ["leg", *run.sites, "mean"], rows
    )


def relay(run: Run) -> Table:
    """What the summary says about the relay as a whole; missing numbers are left out."""
    content: Mapping[str, Any] = run.summary.get("relay") or {}
    model = "every site's own model: the mean over these" if run.apart else "the last leg's model"
    name = run.task.score_name
    plain: dict[str, tuple[str, Callable[[Any], str], str]] = {
        "at_home": ("At home", _mean, "each site's own patients, with the model that it uses for them in the end"),
        "everywhere": ("Everywhere", _mean, f"the sites that were trained on, with {model}"),
        "elsewhere": ("Elsewhere", _mean, f"sites that no leg trained on, with {model}"),
        "generalist_everywhere": ("Generalist, everywhere", _mean, "the same, with the one net alone"),
        "generalist_elsewhere": ("Generalist, elsewhere", _mean, "the same, with the one net alone"),
        "worst_pair": (
            capital(run.task.worst_word()),
            _pair,
            f"the model and the site where it is {run.task.worst_word()}",
        ),
        "best_single": ("Best single", _sites, "elsewhere, the model that is best there: only known afterwards"),
        "average": ("Average", _value, f"{name} at the end, over the sites that were trained on"),
        "backward": (
            "Backward transfer",
            _signed,
            "change at earlier sites since their leg; below 0 is forgetting",
        ),
        "forward": ("Forward transfer", _signed, "what earlier legs gave a site before its own turn"),
        "forgetting": ("Forgetting", _signed, "mean loss at earlier sites since their best; 0 is none"),
        "worst": ("Worst site", _site, f"the site with the {run.task.worst_word()} {name} at the end"),
        "bytes": (
            "Carried",
            lambda b: size(float(b)),
            "memories and experts beside the model, in the last hand-over",
        ),
        "to_joint": (
            "To joint",
            _sites,
            f"gain in {name} over a model trained on all sites' images together",
        ),
        "to_local": ("To local", _sites, f"gain in {name} over the site's own model"),
        "seconds": ("Time", lambda s: duration(float(s)), "of training, all legs together"),
    }
    measures: Mapping[str, Any] = run.summary.get("measures") or {}
    single = {f"generalist_{name}": values for name, values in (measures.get("generalist") or {}).items()}
    content = {"average": run.summary.get("mean"), "forgetting": run.summary.get("forgetting"), **content}
    content = {**measures, **single, **content}
    rows = [
        [label, show(content[key]) if content[key] is not None else MISSING, means]
        for key, (label, show, means) in plain.items()
        if content.get(key, {}) != {} and not (key == "worst_pair" and content[key] is None)
    ]
    return Table("Summary of all legs", ["number", "value", "what it says"], rows, numeric=False)


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def _value(value: Any) -> str:
    return shown(number(value))


def _signed(value: Any) -> str:
    return signed(number(value))


def _site(value: Any) -> str:
    return f"{value['site']}: {_value(value.get('value'))}" if value.get("site") else MISSING


def _mean(value: Any) -> str:
    return f"{_value(mean(map(number, value.values())))} ({_sites(value)})"


def _pair(value: Any) -> str:
    return f"{_value(value.get('value'))}: the model of {value.get('model')} at {value.get('site')}"


def _sites(value: Any) -> str:
    return ", ".join(f"{site}: {_value(score)}" for site, score in value.items())


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def environment(run: Run) -> Table:
    """Versions and times, leg by leg."""
    rows = []
    for leg in run.legs:
        versions = leg.record.get("versions") or {}
        times = [leg.record.get(key) for key in ("train_seconds", "seconds")]
        shown_times = [MISSING if t is None else duration(float(t)) for t in times]
        parts = [str(versions.get(name, MISSING)) for name in ("relay", "torch", "python")]
        precision = str(leg.record.get("precision", MISSING))
        rows.append([run.label(leg.number), *parts, precision, *shown_times])
    columns = ["leg", "relay", "torch", "python", "precision", "training", "in all"]
    return Table("Software and time of each leg", columns, rows, numeric=False)


def spent(run: Run) -> Table | None:
    """Where the time of each leg went, if their records say so."""
    legs = {run.label(leg.number): parts for leg in run.legs if (parts := leg.record.get("spent"))}
    if not legs:
        return None
    names = dict.fromkeys(name for parts in legs.values() for name in parts)
    largest = sorted(names, key=lambda name: -sum(parts.get(name, 0.0) for parts in legs.values()))
    rows = [[name, *(_part(parts, name) for parts in legs.values())] for name in largest]
    return Table("Where the time of each leg went", ["spent on", *legs], rows)


def _part(parts: Mapping[str, float], name: str) -> str:
    whole = sum(parts.values())
    return f"{duration(parts[name])} ({parts[name] / whole:.0%})" if name in parts and whole else MISSING


DATA = "dataset.kwargs."
PLACES = ("root_path", "img_folder", "corrections")
SHARED = {field.name for field in fields(DatasetOptions)} - {*PLACES}
"""Options of a data set that name no file, folder or column."""
KEPT = "kept at the site"


def _disclosed(key: str, value: Any) -> Any:
    """A setting as the page shows it: text that only one data set knows how to read may name files or people."""
    option = key.removeprefix(DATA).partition(".")[0]
    own = (key.startswith(DATA) and option not in SHARED) or key.rpartition(".")[2].startswith("pretrained")
    return value if not own or isinstance(value, bool | int | float | None) else KEPT


def config(legs: Sequence[LegRecord]) -> Table:
    """The settings that determine what is learnt, without names of files; if legs differ, all of their values."""
    records = [leg.record.get("config") or {} for leg in legs]
    configs = [{key: _disclosed(key, value) for key, value in record.items()} for record in records]
    rows = []
    for key in dict.fromkeys(key for one in configs for key in one):
        values = [_text(one[key]) if key in one else MISSING for one in configs]
        rows.append([key, values[0] if len(set(values)) == 1 else "; ".join(values)])
    caption = "Settings; if the legs differ, the values are in the order of the legs"
    return Table(caption, ["key", "value"], rows, folded=True, numeric=False)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


OVER = {
    "rows": ("images", "mean over images"),
    "subjects": ("patients", "mean over patients, all images of each taken together"),
    "voxels": ("", "all pixels of a test set taken together"),
    "whole": ("", "all images of a test set taken together"),
}
"""The parts of ``evaluation.json``: what is counted, and its description."""


def about(run: Run) -> dict[str, dict[str, Any]]:
    """What the results say of each metric that was measured; of one that they say nothing of, its name."""
    known: Mapping[str, Mapping[str, Any]] = run.evaluation.get("metrics") or {}
    names = dict.fromkeys(row["metric"] for key in OVER for row in run.evaluation.get(key) or [])
    return {name: {"title": name, "meaning": "", "in_unit": False, **known.get(name, {})} for name in names}


def metrics(run: Run) -> Iterator[Table]:
    """Every metric of each model, one table each; only that of the final models over images is expanded."""
    for key in OVER:
        rows = run.evaluation.get(key) or []
        if run.apart and (own := [row for row in rows if run.ends(row["site"]) == row["leg"]]):
            yield _metrics(run, f"Each site's own model: {OVER[key][1]}", own, key, folded=key != "rows")
        checkpoints: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            checkpoints[int(row["leg"]), row["checkpoint"]].append(row)
        last = max(checkpoints, default=(0, ""))[0]
        for (leg, _), found in sorted(checkpoints.items(), key=itemgetter(0), reverse=True):
            folded = key != "rows" or leg != last or run.apart
            yield _metrics(run, f"Model after leg {run.label(leg)}: {OVER[key][1]}", found, key, folded)


def _metrics(run: Run, caption: str, rows: Sequence[Mapping[str, Any]], key: str, folded: bool) -> Table:
    names = list(dict.fromkeys(row["metric"] for row in rows))
    cells = {(row["site"], row["class"], row["metric"]): row for row in rows}
    units: Mapping[str, str] = run.evaluation.get("unit") or {}
    mixed = set(units) if len(set(units.values())) > 1 else set()  # the unit is with the metric, else with the site
    unit = "" if mixed or not units else f" [{next(iter(units.values()))}]"
    counted = OVER[key][0]
    said, body = about(run), []
    for site, name in dict.fromkeys((row["site"], row["class"]) for row in rows):
        found = [(cells.get((site, name, metric)), 2 if said[metric]["in_unit"] else 3) for metric in names]
        count = [str(next(row for row, _ in found if row).get("samples", MISSING))] if counted else []
        body.append(
            [f"{site} [{units[site]}]" if site in mixed else site, name, *count, *(_cell(*one) for one in found)]
        )
    heads = [said[name]["title"] + (unit if said[name]["in_unit"] else "") for name in names]
    columns = ["site", "class", *([counted] if counted else []), *heads]
    return Table(caption, columns, body, heads=2, folded=folded)


def _cell(row: Mapping[str, Any] | None, digits: int) -> str:
    """``mean``, ``(low–high)``, and in how many it was missing, a line each."""
    if row is None or math.isnan(value := number(row.get("mean", row.get("value")))):
        return MISSING
    low, high = number(row.get("low")), number(row.get("high"))
    interval = "" if math.isnan(low) or math.isnan(high) else f"\n({low:.{digits}f}–{high:.{digits}f})"
    missing = int(row.get("samples") or 0) - int(row.get("measured") or 0)
    return f"{value:.{digits}f}{interval}" + (f"\nmissing in {missing}" if missing > 0 else "")


def glossary(run: Run) -> list[tuple[str, str]]:
    """The metrics of the tables, and what they say."""
    return [(said["title"], said["meaning"]) for said in about(run).values() if said["meaning"]]


def calibration(run: Run) -> Table:
    """Expected calibration errors, legs × sites."""
    rows = run.evaluation.get("calibration", [])
    sites = list(dict.fromkeys(row["site"] for row in rows))
    errors = {(int(row["leg"]), row["site"]): number(row.get("ece")) for row in rows}
    body = [
        [run.label(leg), *(shown(errors.get((leg, site))) for site in sites)] for leg in sorted({k for k, _ in errors})
    ]
    return Table("Expected calibration error (0 is best)", ["leg", *sites], body)


def custody(chain: Sequence[Hop]) -> Table:
    """One row for each hand-over, with everything that identifies it."""
    rows = [
        [
            str(hop.leg),
            hop.site,
            ", ".join(hop.to) or UNKNOWN,
            hop.digest or UNKNOWN,
            hop.in_words or UNKNOWN,
            hop.signer or UNKNOWN,
            ("fits" if hop.fits else "DOES NOT FIT") if hop.signer else "not signed",
            hop.signed or UNKNOWN,
            hop.received or UNKNOWN,
        ]
        for hop in chain
    ]
    columns = "leg", "site", "for", "digest", "digest in words", "site's fingerprint", "signature", "signed", "taken in"
    return Table("Hand-overs, oldest first", columns, rows, heads=2, folded=True, numeric=False)
