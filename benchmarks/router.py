"""Does the router know its hospitals? Print a table for each study: to which site it sends images of each site, and
how many it finds unlike every site, with the own site in the study and without it.

``python benchmarks/router.py [CONFIG [KEY=VALUE ...]]``, of a study with the strategy ``relay``; the demo without
arguments. The images are those for validation and for testing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import torch
from torch import Tensor, nn

from relay.config import locate, read
from relay.data import SiteData, eval_batches, prepare, scaled
from relay.handover import MemoryState
from relay.leg import task_of, training_of
from relay.memory import LEVEL, Router, build
from relay.plan import Leg, plan

UNLIKE = "unlike"


def remembered(leg: Leg, site: SiteData) -> MemoryState | None:
    """What the memory of a site releases."""
    memory = build(leg.strategy.options.memory)
    training = training_of(leg, [site], nn.Identity(), torch.device("cpu"), len(site.train))
    memory.setup(task_of(leg))
    memory.receive(None)
    memory.begin(training)
    memory.learn(training)
    return memory.own()


def unseen(leg: Leg, site: SiteData) -> list[Tensor]:
    """The images of a site that were not trained on, one by one."""
    stores = (site.val, site.test)
    return [scaled(b["image"], leg.data.intensity_range) for store in stores for b in eval_batches(store, 1)]


def sent(router: Router, images: list[Tensor]) -> tuple[Counter[str], Tensor]:
    """How many images go to each site or to none, and the weights."""
    found = torch.cat([router.weights(image) for image in images])
    strange = torch.cat([router.p_values(image) for image in images]).max(1).values < LEVEL
    names = [UNLIKE if odd else router.sites[place] for odd, place in zip(strange, found.argmax(1), strict=True)]
    return Counter(names), found


def study(config: str, *overrides: str) -> None:
    """Print a study's table."""
    path, name = locate(config)
    legs = plan(read(path, overrides), name).legs
    held = {leg.task_name: (leg, prepare(leg.pool[0], leg.conf.random_seed)) for leg in legs}
    found = {site: remembered(*of) for site, of in held.items()}
    states = {site: state for site, state in found.items() if state is not None}
    reach = legs[0].data.intensity_range
    router = Router.of(states, reach)
    assert router is not None, "no site has patients enough"
    columns = [*router.sites, UNLIKE, "its weight", "top weight", "without it"]
    print(f"{name} {' '.join(overrides)}\n" + "".join(f"{word:>12}" for word in ("images of", *columns)))
    spent = []
    for site, of in held.items():
        images = unseen(*of)
        begin = time.perf_counter()
        where, weights = sent(router, images)
        spent.append((time.perf_counter() - begin) / len(images) / 2)
        others = Router.of({one: state for one, state in states.items() if one != site}, reach)
        strange = sent(others, images)[0][UNLIKE] if others else 0
        own = float(weights[:, router.sites.index(site)].mean()) if site in router.sites else float("nan")
        row = [*(f"{where[one]}" for one in columns[:-3]), f"{own:.2f}", f"{weights.max(1).values.mean():.2f}"]
        print("".join(f"{word:>12}" for word in (site, *row, f"{strange}/{len(images)}")), flush=True)
    print(f"{max(spent) * 1000:.2f} ms an image; {max(state.size for state in states.values())} B a site")


if __name__ == "__main__":
    study(*(sys.argv[1:] or ["demo"]))
