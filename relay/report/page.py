"""The report: one HTML page that needs nothing but itself, and its figures as PDF and PNG.

The page is the same, byte for byte, for the same results: it has no date of its own. Every text in it that comes from
a config, a file or another site is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay.errors import UserError, some
from relay.files import write_bytes, write_folder, write_text
from relay.locks import locked
from relay.report.cases import read_cases
from relay.report.explanations import read_maps
from relay.report.gather import Run, number, read_run
from relay.report.plot_style import pdf, styled
from relay.report.screen import number as shown
from relay.report.sections import Section, count, sections
from relay.report.shapes import Comparison, read_json
from relay.results import mean

WAIT = 60.0
"""Seconds for another command that is writing the same page."""
COMPARISON, PAIRED, RUNS = "compare.json", "Paired tests", "Every run"


def write_report(root: Path, cases: bool = False) -> Path:
    """Write the page of a run's folder, or of a comparison's, and its figures beside it; returns the page.

    Args:
        root: a run's folder (it has ``results/summary.json``; one that is not over has at least
            ``results/samples.csv``), or a comparison's (it has ``compare.json``).
        cases: show the best, the median and the worst image of each site, and the maps of ``relay explain``. Such a
            page must not leave the site.

    Raises:
        UserError: there are no results; a file of them is damaged; cases are wanted and no overlays are there, or of a
            comparison; a plug-in section failed.
    """
    if (root / COMPARISON).is_file():
        if cases:
            raise UserError("a comparison has no cases; give a run's folder", f"They are in {root / 'runs'}.")
        return _write_comparison(root)
    if not any((root / "results" / name).is_file() for name in ("summary.json", "scores.csv", "samples.csv")):
        if others := sorted(path.parent for path in (root / "results").glob("*/evaluation.json")):
            raise UserError(
                f"{root} has trained no leg, so there is no page: only models from elsewhere were tested in it "
                f"({some([path.name for path in others])})",
                f"Their numbers are in {others[-1]}: means and intervals in evaluation.json, every image in "
                "samples.csv. relay predict shows them on the screen, and writes masks and overlays with -s. The page "
                "of all legs is made at a site of the study, from its run.",
            )
        raise UserError(
            f"no results in {root}: looked for {root / 'results' / 'summary.json'} and {root / COMPARISON}",
            "Give the folder of a run that is over, as exps/<config>/<note>; or run it first: python train.py -c CONFIG"
            " -n NOTE, or relay compare CONFIG.",
        )
    return _write_run(root, cases)


def _write_run(root: Path, cases: bool) -> Path:
    run = read_run(root)
    if cases:
        maps = read_maps(root)
        run = replace(run, cases={} if maps.any and not run.task.dense else read_cases(run), maps=maps)
    with styled():
        return _write(root / "results", run.summary.get("study", ""), _sentence(run), list(sections(run)), cases)


def _write_comparison(root: Path) -> Path:
    from relay.report import comparison

    content = read_json(root / COMPARISON, Comparison, "Run relay compare again: it runs nothing that is finished.")
    with styled():
        pictures, tables = comparison.pictures(content), comparison.tables(content)
        paired = [table for table in tables if table.caption.startswith(PAIRED)]
        every = [table for table in tables if table.caption.startswith(RUNS)]
        whole = [table for table in tables if table not in paired and table not in every]
        said = [str(content["method"])] if content.get("method") else []
        parts = [
            Section("strategies", "Strategies side by side", (), pictures[:1], whole),
            Section("sites", "Site by site", pictures=pictures[1:]),
            Section("tests", "Differences", [comparison.tested(content)], tables=paired),
            Section("runs", "Runs", tables=every),
            *([Section("method", "How this was measured", said)] if said else []),
        ]
        return _write(root, _name(root), comparison.sentence(content), parts, False, comparison.alerts(content))


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
    after = f"After {count(len(run.matrix), 'leg')}, the model reaches"
    whose = "Each site's own model reaches" if run.apart else after
    worst = run.task.worst(there, lambda site: there[site]) if there else ""
    text = f"{whose} a {run.task.score_name} of {shown(mean(there.values()))} over {count(len(there), 'site')}."
    if len(there) > 1:
        text += f" The {run.task.worst_word()} is {worst} with {shown(there[worst])}."
    if external:
        text += f" At external sites: {', '.join(f'{site} {shown(value)}' for site, value in external.items())}."
    lost = number(run.summary.get("forgetting"))
    if math.isnan(lost):
        return text
    how = "lost" if lost >= 0 else "gained"
    return f"{text} Since their best, earlier sites have {how} {abs(lost):.3f} on average."


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
    page = render(title=title, sentence=sentence, sections=sections, cases=cases, alerts=alerts)
    path = folder / "report.html"
    with locked(folder / ".report.lock", str(path), patience=WAIT):
        write_folder(folder / "figures", {f"{picture.name}.png": picture.png() for picture in pictures})
        if pictures:
            write_bytes(folder / "figures.pdf", pdf(pictures))
        write_text(path, page)
    return path


def render(template: Path | None = None, **words: Any) -> str:
    """A page, from a template; one of another room may extend ``page.html``. Every text in it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    chosen = template or here / "page.html"
    engine = Environment(
        loader=FileSystemLoader([chosen.parent, here]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return engine.get_template(template.name if template else "page.html").render(
        style=(here / "page.css").read_text(encoding="utf-8"), **words
    )
