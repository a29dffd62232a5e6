"""Is the privacy audit right? Power and size on synthetic and real images, and an attack that it does not use.

    python benchmarks/privacy_audit.py [--data FOLDER] [--seeds 20] [--out FILE]

Power: how often a model is flagged that was overfitted on ten patients. Size: how often one that was trained on ten
other patients is. Real sets are those of ``--data`` (``cxr_lungs``, ``hippocampus``, ``wbc_types``), at 16 x 16 pixels;
patients are drawn anew for each seed. Of white blood cells, half of the classes are wrong, so that they have to be
learned by heart. The other attack is in :mod:`privacy_rank`: its AUC is compared with LiRA's over eight models, which
were trained on few or more patients, and until an ever smaller loss.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from privacy_rank import attack
from privacy_sets import Drawn, sets
from scipy.stats import spearmanr

from relay.privacy import controls, evidence
from relay.privacy.carding import card_of
from relay.privacy.overfitting import fitted
from relay.seeds import derive

EACH = 10
OTHERS = 15
LOSSES = (1.0, 0.5, 0.15, 0.02)
MODELS = tuple((patients, loss) for patients in (15, 8) for loss in LOSSES)
"""Of the comparison of attacks: patients who are trained on, and the loss at which training ends."""


def flagged(drawn: Drawn, seed: int) -> tuple[bool, bool, float, float]:
    """What the audit says of a model trained on the members, and of one trained on the third group; and the first one's
    loss on members and on others. The shadow models are the same."""
    image, label = drawn(seed)
    there, member = (image[: 2 * EACH], label[: 2 * EACH]), np.arange(2 * EACH) < EACH
    shadows, said = controls.shadowed(*there, seed), []
    for chosen in (slice(0, EACH), slice(2 * EACH, 3 * EACH)):
        target = fitted(image[chosen], label[chosen], controls.CLASSES, derive(seed, "target"))
        scores = controls.attacked(target, *there, shadows)
        verdict = card_of(scores, {}, member, controls.SHADOWS, 1.0, seed).verdict(controls.LIMIT)
        said.append((verdict == "leaks", controls.seen(target, *there)[0]))
    (leaky, loss), (harmless, _) = said
    return leaky, harmless, float(loss[:EACH].mean()), float(loss[EACH:].mean())


def agreement(drawn: Drawn, seeds: int) -> tuple[list[float], list[float]]:
    """For each of :data:`MODELS`: the mean AUC of LiRA, and of the other attack."""
    lira, other = [], []
    for patients, until in MODELS:
        found = [_both(drawn, seed, patients, until) for seed in range(seeds)]
        lira.append(float(np.mean([one for one, _ in found])))
        other.append(float(np.mean([two for _, two in found])))
    return lira, other


def _both(drawn: Drawn, seed: int, patients: int, until: float) -> tuple[float, float]:
    image, label = (part[: patients + OTHERS] for part in drawn(seed))
    target = fitted(image[:patients], label[:patients], controls.CLASSES, derive(seed, "target"), until)
    scores = controls.attacked(target, image, label, controls.shadowed(image, label, seed, until))
    lira = evidence.auc(scores["model", "lira"], np.arange(len(image)) < patients)

    def fit(some: Any, labels: Any, number: int) -> Any:
        return fitted(some, labels, controls.CLASSES, derive(number, "other attack"), until)

    return lira, attack(target, image, label, patients, fit, seed)


def main() -> None:
    """Print both tables as Markdown, and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cxr_lungs, hippocampus and wbc_types")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found, began = sets(given.data), time.monotonic()
    rates, ranks = {}, {}
    print("| set | loss on members, others | overfitted: flagged | trained on others: flagged |\n|---|---|---|---|")
    for name, drawn in found.items():
        told = [flagged(drawn, seed) for seed in range(given.seeds)]
        hits, false = sum(hit for hit, *_ in told), sum(wrong for _, wrong, *_ in told)
        losses = np.mean([loss for _, _, *loss in told], axis=0)
        rates[name] = {"power": hits / given.seeds, "size": false / given.seeds, "losses": losses.tolist()}
        row = f"{losses[0]:.2f}, {losses[1]:.2f} | {hits} of {given.seeds} | {false} of {given.seeds}"
        print(f"| {name} | {row} |", flush=True)
    print("\n| set | AUC of LiRA | of the other attack | rank correlation |\n|---|---|---|---|")
    for name, drawn in found.items():
        lira, other = agreement(drawn, max(3, given.seeds // 4))
        ranks[name] = {"lira": lira, "other": other, "spearman": float(spearmanr(lira, other).statistic)}
        row = " | ".join(", ".join(f"{value:.2f}" for value in values) for values in (lira, other))
        print(f"| {name} | {row} | {ranks[name]['spearman']:.2f} |", flush=True)
    print(f"\nmodels (patients, loss): {MODELS}; {time.monotonic() - began:.0f} s")
    if given.out:
        given.out.write_text(json.dumps({"rates": rates, "models": MODELS, "ranks": ranks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
