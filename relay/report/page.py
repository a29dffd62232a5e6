"""The report: one HTML page that needs nothing but itself, and its figures as PDF and PNG.

The page is the same, byte for byte, for the same results: it has no date of its own. Every text in it that comes from
a config, a file or another site is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.errors import UserError
from relay.files import write_bytes, write_folder, write_text
from relay.locks import locked
from relay.report.cases import ShownCase, read_cases
from relay.report.gather import Run, number, read_run
from relay.report.plot_style import Picture, pdf, styled
from relay.report.screen import number as shown
from relay.report.shapes import Comparison, read_json
from relay.report.tables import Table
from relay.results import mean

WAIT = 60.0
"""Seconds for another command that is writing the same page."""
COMPARISON, PAIRED = "compare.json", "Paired tests"


@dataclass(frozen=True)
class Section:
    """A part of the page. ``said``: plain paragraphs; ``alerts``: what is wrong."""

    id: str
    title: str
    said: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    words: Sequence[tuple[str, str]] = ()
    cases: Mapping[str, Sequence[ShownCase]] = field(default_factory=dict)
    alerts: Sequence[str] = ()


def write_report(root: Path, cases: bool = False) -> Path:
    """Write the page of a run's folder, or of a comparison's, and its figures beside it; returns the page.

    Args:
        root: a run's folder (it has ``results/summary.json``; one that is not over has at least
            ``results/samples.csv``), or a comparison's (it has ``compare.json``).
        cases: show the best, the median and the worst image of each site. Such a page must not leave the site.

    Raises:
        UserError: there are no results; a file of them is damaged; cases are wanted and no overlays are there, or of a
            comparison.
    """
    if (root / COMPARISON).is_file():
        if cases:
            raise UserError("a comparison has no cases; give a run's folder", f"They are in {root / 'runs'}.")
        return _write_comparison(root)
    if not any((root / "results" / name).is_file() for name in ("summary.json", "scores.csv", "samples.csv")):
        raise UserError(
            f"no results in {root}: looked for {root / 'results' / 'summary.json'} and {root / COMPARISON}",
            "Give the folder of a run that is over, as exps/<config>/<note>; or run it first: python train.py -c CONFIG"
            " -n NOTE, or relay compare CONFIG.",
        )
    return _write_run(root, cases)


def _write_run(root: Path, cases: bool) -> Path:
    run = read_run(root)
    shown_cases = read_cases(run) if cases else {}
    with styled():
        sections = _run_sections(run, shown_cases)
        return _write(root / "results", run.summary.get("study", ""), _sentence(run), sections, cases)


def _write_comparison(root: Path) -> Path:
    from relay.report import comparison

    content = read_json(root / COMPARISON, Comparison, "Run relay compare again: it runs nothing that is finished.")
    with styled():
        pictures, tables = comparison.pictures(content), comparison.tables(content)
        paired = [table for table in tables if table.caption.startswith(PAIRED)]
        said = [str(content["method"])] if content.get("method") else []
        sections = [
            Section("strategies", "Strategies side by side", (), pictures[:1], tables[:1]),
            Section("sites", "Site by site", pictures=pictures[1:]),
            Section("tests", "Differences", [comparison.tested(content)], tables=paired),
            Section("runs", "Runs", tables=[t for t in tables if t.caption == "Every run"]),
            *([Section("method", "How this was measured", said)] if said else []),
        ]
        return _write(root, _name(root), comparison.sentence(content), sections, False, comparison.alerts(content))


def _name(root: Path) -> str:
    """``<config>/<note>`` of a folder under ``exps``; else its own name."""
    parts = root.parts
    return "/".join(parts[parts.index("exps") + 1 :] if "exps" in parts[:-1] else parts[-1:]) or "comparison"


def _sentence(run: Run) -> str:
    """What came out, in plain words. Sites that no leg was trained at are named apart."""
    relay = run.summary.get("relay") or {}
    final = {site: number(value) for site, value in run.summary["final"].items()}
    there = {site: value for site, value in final.items() if not math.isnan(value)}
    external = {site: there.pop(site) for site in relay.get("external") or {} if site in there}
    if not there and not external:
        return "Nothing could be measured."
    after = f"After {_count(len(run.matrix), 'leg')}, the model reaches"
    whose = "Each site's own model reaches" if run.apart else after
    worst = min(there, key=lambda site: there[site], default="")
    text = f"{whose} a mean Dice of {shown(mean(there.values()))} over {_count(len(there), 'site')}."
    if len(there) > 1:
        text += f" The lowest is {worst} with {shown(there[worst])}."
    if external:
        text += f" At external sites: {', '.join(f'{site} {shown(value)}' for site, value in external.items())}."
    lost = number(run.summary.get("forgetting"))
    if math.isnan(lost):
        return text
    how = "lost" if lost >= 0 else "gained"
    return f"{text} Since their best, earlier sites have {how} {abs(lost):.3f} on average."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _run_sections(run: Run, cases: Mapping[str, Sequence[ShownCase]]) -> list[Section]:
    from relay.report import chain_figure, figures, tables
    from relay.report.curves import read_curves
    from relay.report.custody import read_custody

    known, evaluation = read_custody(run), run.evaluation
    chains = known.chains
    untested = run.stale or "Not measured yet: python predict_test.py adds it."
    only_dice = (
        run.stale or "Only Dice was measured so far: python predict_test.py adds the other metrics, and intervals."
    )
    rules = [_as_sentence(str(evaluation[key])) for key in ("rule", "interval") if evaluation.get(key)]
    if evaluation.get("tolerance") is not None:
        rules.append(f"The tolerance of NSD is {evaluation['tolerance']:g}, in the unit of the site's distances.")
    curves = figures.curves(run, read_curves(run))
    calibration = figures.calibration(run)
    sections = [
        Section("run", "What was run", _what(run), (), [tables.environment(run), tables.config(run.legs)]),
        *([Section("warnings", "Warnings before training", alerts=run.doubts)] if run.doubts else []),
        Section("matrix", "Every leg at every site", (), _one(figures.matrix(run)), [tables.matrix(run)]),
        Section("relay", "The relay in numbers", tables=[tables.relay(run)]),
        Section(
            "scores",
            "Scores",
            rules or [only_dice],
            _one(figures.distributions(run)),
            list(tables.metrics(run)),
            tables.glossary(run),
        ),
        Section("curves", "Learning curves", () if curves else ["No curves were recorded."], _one(curves)),
        Section(
            "calibration",
            "Calibration",
            () if calibration else [untested],
            _one(calibration),
            [tables.calibration(run)] if calibration else [],
        ),
    ]
    if cases:
        sections.append(Section("cases", "Best, median and worst images", cases=cases))
    drawn = [chain_figure.custody(chain, f"custody-{n}" if n else "custody") for n, chain in enumerate(chains)]
    none = ["Nothing was handed over: there is one leg, or each model starts from nothing."]
    said = () if chains or known.broken else none
    alerts = [f"The chain of custody can't be verified: {why}" for why in known.broken]
    listed = [tables.custody(chain) for chain in chains]
    sections.append(Section("custody", "Chain of custody", said, drawn, listed, alerts=alerts))
    return sections


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _one(picture: Picture | None) -> list[Picture]:
    return [picture] if picture else []


def _what(run: Run) -> list[str]:
    order = " → ".join(run.scores.trained[leg] for leg in sorted(run.scores.trained))
    seeds = {str(leg.record["config"].get("random_seed", "0")) for leg in run.legs if leg.record.get("config")}
    lines = [f"Strategy: {run.summary.get('strategy')}."]
    lines += [_unfinished(run)] if not run.finished else []
    lines += [f"Legs, in their order: {order}."] if order else []
    lines += [f"Test images of: {', '.join(run.sites)}."] if run.sites else []
    lines += [f"Random seed: {', '.join(sorted(seeds))}."] if seeds else []
    return lines


def _unfinished(run: Run) -> str:
    legs = ", ".join(map(run.label, sorted(run.matrix)))
    of = f" of {_count(len(run.planned), 'leg')}" if run.planned else ""
    return f"This run is not finished, or was not summed up: the page is made of what was tested: leg {legs}{of}."


def _write(
    folder: Path,
    title: str,
    sentence: str,
    sections: Sequence[Section],
    cases: bool,
    alerts: Sequence[str] = (),
) -> Path:
    """Page, PDF and PNGs."""
    pictures = [picture for section in sections for picture in section.pictures]
    page = _render(title=title, sentence=sentence, sections=sections, cases=cases, alerts=alerts)
    path = folder / "report.html"
    with locked(folder / ".report.lock", str(path), patience=WAIT):
        write_folder(folder / "figures", {f"{picture.name}.png": picture.png() for picture in pictures})
        if pictures:
            write_bytes(folder / "figures.pdf", pdf(pictures))
        write_text(path, page)
    return path


def _render(**words: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    engine = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return engine.get_template("page.html").render(style=(here / "page.css").read_text(encoding="utf-8"), **words)
