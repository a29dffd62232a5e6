"""Warnings before a run: about the sites' data, and about data and settings together."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from relay.data import Doubt, SiteData, combined, people
from relay.files import write_text
from relay.leg import choosing, guarantee
from relay.leg.digests import Files
from relay.leg.pricing import mean_of
from relay.leg.sites import Needs, Sites
from relay.leg.training import task_of
from relay.memory import build
from relay.plan import Leg

log = logging.getLogger(__name__)


def doubts(legs: Sequence[Leg], needs: Needs, sites: Sites) -> list[Doubt]:
    """All warnings about what the given legs need, each once."""
    found = [doubt for dataset, splits in needs for doubt in sites.doubts(dataset, splits)]
    found += [doubt for leg in legs for doubt in _settings(leg, [sites(dataset) for dataset in leg.pool])]
    return list(dict.fromkeys([*found, *_shared(sites.files(needs))]))


def _shared(files: Files) -> list[Doubt]:
    """Warn of image files that two sites share: one may train on what the other tests on."""
    owner: dict[str, str] = {}
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for site, samples in files.items():
        for name, found in samples.items():
            if "image" in found and (first := owner.setdefault(found["image"], site)) != site:
                shared[site, first].append(name)
    return [
        Doubt(site, f"{len(names)} of its image files are also at {first}", tuple(names))
        for (site, first), names in shared.items()
    ]


def _settings(leg: Leg, pool: Sequence[SiteData]) -> list[Doubt]:
    """Warn of settings of a leg that don't suit its data."""
    found = []
    samples = sum(len(site.train) for site in pool)
    found += guarantee.doubts(leg, pool)
    if leg.train.batch_size > samples and leg.train.privacy is None:
        found.append(f"batch_size {leg.train.batch_size} is more than its {samples} training images")
    patch = leg.data.patch_size
    if patch is not None:
        shapes = [shape for site in pool for shape in site.train.shapes]
        small = [shape for shape in shapes if len(shape) == len(patch) and any(map(int.__lt__, shape, patch))]
        if small:
            size = "×".join(map(str, min(small)))
            found.append(
                f"patch_size {patch} is larger than {len(small)} of {len(shapes)} training images (as {size}), which "
                "are reflected to fill it"
            )
    if doubt := getattr(leg.net, "doubt", lambda: None)():
        found.append(doubt)
    if doubt := choosing.doubt(leg, pool):
        found.append(doubt)
    patients = sum(len(set(people(sample.patient for sample in site.split.train))) for site in pool)
    memory = build(getattr(leg.strategy.options, "memory", None))
    memory.setup(task_of(leg))
    if doubt := memory.doubt(patients):
        found.append(doubt)
    private = leg.train.privacy
    if private is not None and private.epsilon is not None and memory.noised:
        strong = 2 / mean_of(private.epsilon, private.delta).noise
        if doubt := memory.doubt_noise(patients, strong):
            found.append(f"with privacy.epsilon {private.epsilon:g} and {doubt}")
    if getattr(memory.options, "epsilon", None) is not None and leg.strategy.carries_expert:
        found.append(
            "epsilon covers the memory alone: the model and the expert travel without noise, and an expert says "
            "more about its site; experts: false leaves it out"
        )
    return [Doubt(leg.task_name, text) for text in found]


def tell(found: Sequence[Doubt], results: Path, say: Callable[[str], None], said: set[Doubt]) -> None:
    """Show all warnings on one screen, except those already ``said``; keep all of them for the report, without the
    names."""
    told = [{"site": doubt.site, "text": doubt.text} for doubt in found]
    write_text(results / "warnings.json", json.dumps({"warnings": told}, indent=1) + "\n")
    for doubt in found:
        log.warning("%s", doubt)
    new = [doubt for doubt in found if doubt not in said]
    said.update(new)
    if new:
        lines = combined(new)
        count = "1 warning" if len(lines) == 1 else f"{len(lines)} warnings"
        say(f"{count} before training:\n" + "\n".join(f"  - {line}" for line in lines))
