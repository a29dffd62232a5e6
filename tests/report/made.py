"""Results as the toolkit writes them, made up: a run's folder, and a comparison's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from relay.files import write_bytes, write_text
from relay.leg.paths import LegPaths
from relay.metrics import about
from relay.results import matrix, no_nan, write_rows

SITES = ("north", "south", "harbour")
CLASSES = ("background", "cup", "rim")
METRICS = ("dice", "sensitivity", "specificity", "hd95", "asd", "nsd")
VOXELS = {"class": "cup", "metric": "dice", "value": 0.5}
MISSING = (1, "harbour")
"""A leg and a site that were not measured."""


def rows(sites: Sequence[str], samples: int, classes: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A row a leg, site, sample, metric and class; each site is a leg."""
    draw = np.random.default_rng(0)
    found = []
    for leg, trained in enumerate(sites, 1):
        for paths, site in enumerate(dict.fromkeys(sites)):
            if (leg, site) == MISSING:
                continue
            level = max(0.3, 0.85 - 0.05 * abs(leg - 1 - paths))
            for metric in metrics:
                values = draw.beta(20 * level, 20 * (1 - level), (samples, len(classes)))
                for sample in range(samples):
                    for name, value in zip(classes, values[sample].tolist(), strict=True):
                        lost = sample == 1 and name == classes[-1]  # absent from truth and prediction
                        found.append(
                            {
                                "study": "made/up",
                                "strategy": "relay",
                                "leg": leg,
                                "trained": trained,
                                "model": "generalist",
                                "site": site,
                                "patient": f"secret-patient-{sample // 2}",
                                "sample": f"secret-sample-{sample}",
                                "class": name,
                                "metric": metric,
                                "value": math.nan if lost else value * (10 if metric in ("hd95", "asd") else 1),
                            }
                        )
    return found


def run(
    root: Path,
    sites: Sequence[str] = SITES,
    samples: int = 12,
    classes: Sequence[str] = CLASSES,
    evaluated: bool = True,
) -> Path:
    """A run's folder: scores, summary and legs' records; with ``evaluated`` also what predict_test.py -s writes."""
    every = rows(sites, samples, classes, METRICS if evaluated else METRICS[:1])
    dice = [row for row in every if row["metric"] == "dice"]
    write_rows(root / "results" / "scores.csv", dice)
    table = matrix(dice)
    final = table[len(sites)]
    summary = {
        "study": "made/up",
        "strategy": "relay",
        "matrix": table,
        "final": final,
        "mean": float(np.mean(list(final.values()))),
        "forgetting": 0.031,
        "relay": {
            "average": 0.8,
            "backward": -0.02,
            "forward": math.nan,
            "worst": {"site": sites[0], "value": min(final.values())},
            "external": {},
            "bytes": 5_000_000,
            "seconds": 300.0,
        },
    }
    write_text(root / "results" / "summary.json", json.dumps(no_nan(summary)))
    for leg, site in enumerate(sites, 1):
        config = {"random_seed": 7, "dataset.kwargs.task_name": site, "train.batch_size": 8}
        versions = {"relay": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}
        start = f"{leg:064x}" if leg > 1 else None
        content = {"config": config, "start": start, "seconds": 80.0, "train_seconds": 60.0, "versions": versions}
        LegPaths(root / "checkpoints" / f"task_{leg}").write_record(state="finished", **content)
    routed = {site: dict.fromkeys((*sites, "unlike"), 0) | {site: samples} for site in sites}
    write_text(LegPaths(root / "checkpoints" / f"task_{len(sites)}").routing, json.dumps(routed))
    adopted(root, sites[0])
    if evaluated:
        write_rows(root / "results" / "samples.csv", every)
        write_text(root / "results" / "evaluation.json", json.dumps(no_nan(evaluation(every, sites, classes))))
    return root


def adopted(root: Path, site: str) -> None:
    """What a site adopted, as ``relay adopt`` records it."""
    candidates = {"generalist": {"mean": 0.8}, "expert": {"mean": 0.9}, "vote": {"mean": None}}
    record = {"site": site, "model": "expert", "why": "it is best", "from": "", "handover": "", "sha256": {}}
    write_text(root / "adopted" / site / "adopted.json", json.dumps(record | {"candidates": candidates}))


def evaluation(every: Sequence[dict[str, Any]], sites: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """``evaluation.json`` of these rows."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in every:
        key = tuple(row[column] for column in ("leg", "trained", "site", "class", "metric"))
        groups.setdefault(key, []).append(row["value"])
    found = []
    for (leg, trained, site, name, metric), values in groups.items():
        there = [value for value in values if not math.isnan(value)]
        mean = float(np.mean(there))
        where = {"checkpoint": f"task_{leg}", "leg": leg, "trained": trained, "site": site}
        content = {"samples": len(values), "patients": len(values) // 2, "measured": len(there), "mean": mean}
        spread = {"sd": 0.1, "median": float(np.median(there)), "low": mean - 0.02, "high": mean + 0.02}
        found.append(where | {"class": name, "metric": metric} | content | spread)
    x = np.linspace(0.05, 0.95, 10)
    bins = [{"count": 50, "confidence": float(c), "accuracy": float(c**1.3)} for c in x]
    bins.append({"count": 0, "confidence": math.nan, "accuracy": math.nan})
    cells = dict.fromkeys((row["leg"], row["site"]) for row in every)
    return {
        "study": "made/up",
        "strategy": "relay",
        "rule": "A class absent from both truth and prediction is missing.",
        "unit": dict.fromkeys(sites, "mm"),
        "tolerance": 2.0,
        "metrics": about(),
        "classes": list(classes),
        "interval": "95% intervals by bootstrap over patients",
        "rows": found,
        "subjects": [row for row in found if row["metric"] == "dice"],
        "voxels": [{"checkpoint": "task_1", "leg": 1, "trained": "a", "site": "a", **VOXELS}],
        "calibration": [{"checkpoint": f"task_{k}", "leg": k, "site": s, "ece": 0.04, "bins": bins} for k, s in cells],
        "seconds": {"inference": 1.0, "metrics": 0.5},
    }


def overlays(root: Path, leg: int, sites: Sequence[str] = SITES, samples: int = 12) -> None:
    """An overlay of every sample, larger than a page shows it, each of its own grey."""
    for site in sites:
        for sample in range(samples):
            path = root / "results" / "overlays" / f"task_{leg}" / site / f"secret-sample-{sample}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (1200, 400), (10 * sample,) * 3).save(path)


def gain(mean: float, lowest: float, site: str) -> dict[str, Any]:
    """A measure of a strategy, in a comparison's table."""
    return {"mean": mean, "difference": lowest + 0.01, "lowest": {"site": site, "value": lowest}}


def comparison(root: Path) -> Path:
    """A comparison's folder."""
    strategies = {"sequential": 0.70, "relay": 0.80, "joint": 0.84}
    runs = [
        {
            "label": f"{name} {seed}",
            "strategy": name,
            "order": list(SITES),
            "seed": seed,
            "folder": f"{name}/{seed}",
            "mean": level + 0.01 * seed,
            "forgetting": 0.05 if name != "joint" else None,
            "final": {"north": level, "south": level + 0.02 * seed, "harbour": None},
            "matrix": {},
            "seconds": 100.0,
            "bytes": 4096,
        }
        for name, level in strategies.items()
        for seed in range(3)
    ]
    table = [
        {
            "strategy": name,
            "runs": 3,
            "mean": level + 0.01,
            "sd": 0.01,
            "low": level - 0.01,
            "high": level + 0.03,
            "forgetting": 0.05,
            "gap_closed": None if name != "relay" else 0.71,
            "at_home": gain(level + 0.01, 0.01, "south"),
            "everywhere": gain(level, -0.04, "north"),
            "elsewhere": gain(level - 0.1, -0.05, "abroad"),
            "generalist": {"everywhere": gain(0.81, -0.03, "north")} if name == "relay" else {},
            "cost": 1.2,
            "bytes": 4096,
        }
        for name, level in strategies.items()
    ]
    test = {"a": "relay", "b": "sequential", "pairs": 72, "difference": 0.1, "low": 0.08, "high": 0.12}
    tests = [test | {"p": 0.00001, "p_holm": 0.00002, "effect": 0.8}]
    content = {"method": "Permutation tests on the same patients.", "runs": runs, "table": table, "tests": tests}
    content["elsewhere"] = [
        {"site": "abroad", "left_out": False, "strategies": dict.fromkeys(strategies, 0.7), "best_single": 0.6}
    ]
    content["site_tests"] = [
        tests[0] | {"site": "clinic_a", "pairs": 9, "difference": -0.02, "low": None, "high": None}
    ]
    write_bytes(root / "compare.json", json.dumps(content).encode())
    return root
