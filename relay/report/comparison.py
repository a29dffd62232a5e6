"""A comparison's page: strategies side by side, from ``compare.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from relay.measures import AT_HOME, ELSEWHERE, EVERYWHERE, MEASURES
from relay.numbers import signed
from relay.report.chain_figure import size
from relay.report.figures import grid, short
from relay.report.gather import number
from relay.report.plot_style import COLOURS, INK, Picture, figure
from relay.report.screen import MISSING, number as shown, p_value
from relay.report.tables import Table, capital, duration
from relay.tasks import Task, named

Content = Mapping[str, Any]
WORDS = {AT_HOME: "at home", EVERYWHERE: "everywhere", ELSEWHERE: "elsewhere"}


def sentence(content: Content) -> str:
    """The main result."""
    best = {name: _best(content, name) for name in MEASURES}
    if not best[AT_HOME]:
        return "No strategy has a result yet."
    found = "; ".join(f"{WORDS[name]}, {of}" for name, of in best.items() if of)
    runs = f"Of {len(content['table'])} strategies in {len(content['runs'])} runs, these have the best "
    runs += f"{_task(content).score_name}: "
    home = _task(content).best(_with(content, AT_HOME), lambda row: number(row[AT_HOME]["mean"]))
    return f"{runs}{found}. {_more(content, str(home['strategy']))}"


def _with(content: Content, measure: str) -> list[Content]:
    """The strategies with this measure."""
    return [row for row in content.get("table", []) if not math.isnan(number(row[measure].get("mean")))]


def _best(content: Content, measure: str) -> str:
    """``relay 0.936``; empty if nobody has this measure."""
    there = _with(content, measure)
    row = _task(content).best(there, lambda row: number(row[measure]["mean"])) if there else None
    return f"{row['strategy']} {shown(number(row[measure]['mean']))}" if row else ""


def _task(content: Content) -> type[Task]:
    """What the strategies' models predict."""
    return named(content.get("task"))


def _more(content: Content, best: str) -> str:
    """What the tests say about the best strategy."""
    pairs = [{str(test["a"]), str(test["b"])} for test in content.get("tests") or []]
    others = sorted({other for pair in pairs if best in pair for other in pair - {best}})
    if not others:
        return f"At home, it was not tested whether {best} differs from others by more than chance."
    named = f"{best} differs from {', '.join(others)}"
    return f"Whether at home {named} by more than chance is in the tests below; no other pair with it was tested."


def reference(content: Content) -> str:
    """The strategy that the others are tested against; empty if not known."""
    seconds = {str(test["b"]) for test in content.get("tests") or []}
    return str(content.get("reference") or (seconds.pop() if len(seconds) == 1 else ""))


def tested(content: Content) -> str:
    """What the tests compare."""
    if not content.get("tests"):
        return "No paired tests were made."
    against = reference(content)
    return (
        f"The reference is {against}: each strategy below was tested against it, and against no other."
        if against
        else "Only the pairs below were tested."
    )


def alerts(content: Content) -> list[str]:
    """A warning that runs are missing."""
    there, failed = len(content["runs"]), len(content.get("failed") or [])
    planned = int(content.get("planned") or there + failed)  # several folds of one run may have failed
    if planned == there:
        return []
    return [f"{planned - there} of {planned} runs failed or are not finished; the tables don't include them."]


def _interval(row: Content, value: str) -> str:
    return shown(number(row.get(value))) + _bounds(row)


def _bounds(row: Content) -> str:
    low, high = number(row.get("low")), number(row.get("high"))
    return "" if math.isnan(low) or math.isnan(high) else f" ({low:.3f} to {high:.3f})"


def tables(content: Content) -> list[Table]:
    """Strategies, their tests, their runs."""
    made = (_strategies, _elsewhere, _cost, _tests, _site_tests, _runs, _folds)
    return [table for make in made if (table := make(content)).rows]


def _strategies(content: Content) -> Table:
    rows = [line for row in content.get("table", []) for line in _measured(row)]
    heads = [
        *("strategy", "at home\n(interval)", "to local\n(worst site)", "everywhere", "to joint\n(worst site)"),
        *("elsewhere", "elsewhere, to joint\n(worst site)"),
    ]
    lone = [(row, pair) for row in content.get("table", []) if (pair := row.get("worst_pair"))]
    notes = (
        "At home: each site's own patients, with the model that it uses for them in the end. Everywhere: the test "
        "images of all sites, with one model (the vote of all experts, if there are some). Elsewhere: the test images "
        "of sites that took no part, with the same model. A strategy with one model for each site (local) has no such "
        "model: its values are means over these models.",
        f"To local, to joint: gain in {_task(content).score_name} over each site's own model, and over a model trained "
        "on all sites' images "
        "together; above 0 is better. Worst site: where this difference is lowest.",
        *(
            f"Lowest of {row['strategy']}: {shown(number(pair.get('value')))}, the model of {pair.get('model')} at "
            f"{pair.get('site')}."
            for row, pair in lone
        ),
        "The interval is over patients.",
        *_methods([(str(row["strategy"]), row) for row in content.get("table", [])]),
    )
    return Table("Strategies side by side", heads, rows, notes=notes)


def _measured(row: Content) -> Iterator[list[str]]:
    """A strategy's line, and one for its generalist, if its experts vote."""
    for label, of in ((str(row["strategy"]), row), (f"{row['strategy']}, generalist", row.get("generalist") or {})):
        found = {name: of.get(name) or {} for name in MEASURES}
        if any(found.values()):
            home = shown(number(found[AT_HOME].get("mean"))) + (_bounds(row) if of is row else "")
            rest = [(shown(number(found[name].get("mean"))), _versus(found[name])) for name in MEASURES[1:]]
            yield [label, home, _versus(found[AT_HOME]), *(cell for pair in rest for cell in pair)]


def _versus(gain: Content) -> str:
    """``+0.012 (-0.003 north)``: the mean difference, and that of the worst site."""
    low = gain.get("lowest") or {}
    where = f" ({signed(number(low['value']))} {low['site']})" if low.get("site") else ""
    return signed(number(gain.get("difference"))) + where


def _elsewhere(content: Content) -> Table:
    found = content.get("elsewhere") or []
    labels = list(dict.fromkeys(label for one in found for label in one["strategies"]))
    rows = [
        [
            str(one["site"]),
            "left out" if one.get("left_out") else "external",
            *(shown(number(one["strategies"].get(label))) for label in labels),
            shown(number(one.get("best_single"))),
        ]
        for one in found
    ]
    notes = (
        "Left out: the mean over the runs that did without this site, of its test images. External: no run trains on "
        "it. Best single: of the models that sites trained alone, the one that is best there, which nobody can know "
        "beforehand.",
    )
    return Table("Elsewhere, site by site", ["site", "why", *labels, "best\nsingle"], rows, heads=2, notes=notes)


def _cost(content: Content) -> Table:
    there = content.get("table", [])
    transfer = {"backward": "backward\ntransfer", "forward": "forward\ntransfer"}
    columns = {
        "forgetting": "forgetting",
        **{key: head for key, head in transfer.items() if any(key in row for row in there)},
        "gap_closed": "gap\nclosed",
    }
    rows = [
        [
            str(row.get("strategy")),
            str(row.get("runs", MISSING)),
            *(shown(number(row.get(key))) for key in ("sd", *columns)),
            MISSING if row.get("cost") is None else f"{row['cost']:.2f}",
            MISSING if row.get("bytes") is None else size(float(row["bytes"])),
        ]
        for row in there
    ]
    heads = ["strategy", "runs", "sd", *columns.values(), "cost", "carried"]
    notes = (
        "Gap closed: how much of the way from sequential (0) to joint (1) training a strategy goes, everywhere.",
        "Cost: seconds of training over those of sequential. Carried: memories and experts that travel beside the "
        "model. The sd is of the mean at home, over orders and seeds (over seeds alone for local and joint, which have "
        "no order).",
    )
    return Table("Spread, forgetting and cost", heads, rows, notes=notes)


def _tests(content: Content) -> Table:
    tests = content.get("tests", [])
    notes = (
        "Each row compares two strategies on the same patients. The difference is that of their means at home in the "
        "table above, over the runs that go together: every site counts alike. The p after Holm's correction says how "
        "often chance alone would show such a difference; 0.05 or more says that it may well be chance. The effect "
        "size has the sign of the difference: near 0, some patients gain what others lose; near 1 or −1, almost every "
        "patient goes the same way.",
        "A small p is about these patients and these models: it does not say that other trainings, with other seeds "
        "or orders, would differ in the same way. The sd above says how much trainings differ.",
        *_methods([(_pair(test), test) for test in tests]),
    )
    return Table("Paired tests", ["pair", *TESTED], [[_pair(test), *_tested(test)] for test in tests], notes=notes)


def _site_tests(content: Content) -> Table:
    tests = content.get("site_tests", [])
    rows = [[_pair(test), str(test.get("site", MISSING)), *_tested(test)] for test in tests]
    notes = ("The same tests within each site; Holm's correction is over the rows of this table.",)
    return Table("Paired tests, site by site", ["pair", "site", *TESTED], rows, heads=2, folded=True, notes=notes)


TESTED = ("patients", "difference\n(interval)", "p", "p (Holm)", "effect size")


def _pair(test: Content) -> str:
    return f"{test.get('a')} − {test.get('b')}"


def _tested(test: Content) -> list[str]:
    """The cells under :data:`TESTED`."""
    ps = [p_value(test.get(key)) for key in ("p", "p_holm")]
    pairs = str(test.get("pairs", MISSING))
    return [pairs, _interval(test, "difference"), *ps, shown(number(test.get("effect")), 2)]


def _methods(rows: Sequence[tuple[str, Content]]) -> list[str]:
    """How the intervals were computed, if known."""
    by: dict[str, list[str]] = {}
    for name, row in rows:
        if row.get("method"):
            by.setdefault(str(row["method"]), []).append(name)
    content = "; ".join(f"{method} for {', '.join(names)}" for method, names in by.items())
    return [f"Intervals: {content}."] if by else []


def _sites(content: Content) -> list[str]:
    return list(dict.fromkeys(site for run in content.get("runs", []) for site in run.get("final", {})))


def _runs(content: Content) -> Table:
    sites = _sites(content)
    rows = [
        [
            str(run.get("label")),
            " → ".join(run.get("order") or []) or MISSING,
            str(run.get("left_out") or MISSING),
            str(run.get("seed", MISSING)),
            *(shown(number(run.get("final", {}).get(site))) for site in sites),
            *(shown(number(run.get(key))) for key in ("mean", "forgetting")),
            MISSING if run.get("seconds") is None else duration(float(run["seconds"])),
        ]
        for run in content.get("runs", [])
    ]
    heads = ["run", "order", "without", "seed", *sites, "mean", "forgetting", "time"]
    return Table("Every run, at home", heads, rows, folded=True)


def _folds(content: Content) -> Table:
    rows = [
        [
            str(run.get("label")),
            " → ".join(run.get("order") or []) or MISSING,
            str(run.get("seed", MISSING)),
            str(fold.get("fold")),
            str(fold.get("setting") or run.get("label")),
            shown(number(fold.get("mean"))),
        ]
        for run in content.get("runs", [])
        for fold in run.get("folds") or []
    ]
    return Table("Every fold, at home", ["run", "order", "seed", "fold", "setting", "mean"], rows, folded=True)


def _by(content: Content, strategy: str) -> list[Content]:
    runs = content.get("runs", [])
    return [run for run in runs if run.get("strategy") == strategy and not run.get("left_out")]


def pictures(content: Content) -> list[Picture]:
    """Means with intervals, and each strategy at each site."""
    rows = content.get("table", [])
    measured = any(run.get("measures") for run in content.get("runs", []))
    heats = [_heat(content, rows), *([_heat(content, rows, EVERYWHERE)] if measured else [])]
    return [_points(content, rows), *heats] if rows else []


def _points(content: Content, rows: Sequence[Content]) -> Picture:
    drawn = figure(0.9 + 0.42 * len(rows))
    axes = drawn.subplots()
    for place, row in enumerate(rows):
        runs = [number(run.get("mean")) for run in _by(content, row["strategy"])]
        shift = [((k * 0.618034) % 1 - 0.5) * 0.4 for k in range(len(runs))]
        axes.plot(runs, [place + s for s in shift], "o", ms=4.5, color=COLOURS[0], alpha=0.8, mew=0)
        ends = [number(row.get("low")), number(row.get("high"))]
        axes.plot(ends, [place, place], color=INK, lw=1.6)
        axes.plot([number(row.get("mean"))], [place], "D", ms=6, color=COLOURS[1])
    axes.set_yticks(range(len(rows)), [short(str(row["strategy"])) for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{_task(content).score_name} over sites, at home")
    axes.grid(True, axis="both")
    return Picture(
        "strategies",
        f"{capital(_task(content).score_name)} of each strategy at home",
        f"Points with intervals for {len(rows)} strategies; the table below has the numbers.",
        "The diamond is the mean over runs, the line its interval; each small dot is one run. Where two lines overlap "
        "widely, do not call one better: look at the paired tests, which compare the same patients, where there is "
        "one of these two.",
        drawn,
    )


def _heat(content: Content, rows: Sequence[Content], measure: str = AT_HOME) -> Picture:
    sites, strategies = _sites(content), [str(row["strategy"]) for row in rows]
    values = {}
    for r, strategy in enumerate(strategies):
        for c, site in enumerate(sites):
            runs = _by(content, strategy)
            ends = [run.get("final") if measure == AT_HOME else run["measures"].get(measure) for run in runs]
            found = [number((end or {}).get(site)) for end in ends]
            there = [value for value in found if not math.isnan(value)]
            values[r, c] = fmean(there) if there else math.nan
    return Picture(
        "sites" if measure == AT_HOME else measure,
        f"Each strategy at each site, {WORDS[measure]}",
        f"Heat map of {len(strategies)} strategies by {len(sites)} sites.",
        f"{capital(_task(content).score_name)} over runs at the end, for each site: brighter is better, a hatched cell "
        "was not measured. A good "
        "mean with one dark cell is a strategy that fails one hospital.",
        grid(strategies, sites, values, up=_task(content).primary.higher_is_better),
    )
