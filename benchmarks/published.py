"""A later leg against the published code of Relay Learning (Bo et al. 2023): images/s, memory, and bytes carried.

    python benchmarks/published.py PATH [--batch N] [--pairs N] [--side SIDE]

PATH is a checkout of https://github.com/MeteorsHub/RelayLearning; mind its licences (its GANs come from NVIDIA's
StyleGAN2-ADA). What is compared is the second leg, which starts from what the first site handed over:

- ``published``, as ``configs/fundus/relay.yaml`` has it (:mod:`published_peer`). A step updates generators,
  discriminators and the model: its ``solver_steps_ratio`` is unset, so no step leaves out the model. In the first half
  of a leg, the GANs learn the new site; in the second, half of each batch is replayed. As many steps of both halves are
  timed, 8 each, after which the penalties of generators (every 4 steps) and discriminators (every 8) come again.
- ours: a leg of the demo with the default strategy ``relay``, that is replay, the frozen teacher, projection, and the
  fit of the expert, a second model, which the published code doesn't have. A second ratio leaves out the time of that
  fit, as ``experts: false`` does. Memory and bytes are with the expert. ``ours-their-net`` has the published code's own
  U-Net, ``ours`` has ours of the same name (backbone resnet18), whose decoder is lighter.

Images are counted alike: those that the steps take from the site, one batch a step. In their second half and with us,
half of them stand for earlier sites. What is counted favours the published code: our time includes Lightning, reading
and augmenting images, and writing curves; theirs has one batch in memory, and no logs. Its discriminators' augmentation
is as weak as at the beginning of a relay. Neither includes validation, or what begins and ends a
leg, which costs the same however long it is.

Time is the processor's, on one thread (or ``OMP_NUM_THREADS``). The published batch of 128 takes minutes a step there;
``--batch`` is what both use. Each measurement is a process of its own, whose peak memory counts; ``--side`` makes one
of them, and prints it as JSON: images/s, peak memory in MB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from arguments import Parser, whole
from handoff import peak
from published_peer import EPOCHS, WHERE, Peer, lacking
from scale import child, relay, scratch, size

STEPS = 8
"""Timed steps of each of their stages."""
OWN_STEPS, WARM = 28, 4
"""Steps of each of our fits, and how many of them are not timed."""
OURS = {"ours-their-net": "their net", "ours": "our net"}
SIDES = ("published", *OURS)


def published(root: Path, batch: int) -> dict[str, float]:
    """Images/s of a later leg of the published code, and the bytes of what it started from."""
    peer = Peer(root, batch)
    peer.first_leg()
    with scratch() as folder:
        peer.save(folder / "last.ckpt")
        handed_on = size(folder)
    peer.next_leg()
    spent = 0.0
    for first in (EPOCHS, EPOCHS + EPOCHS // 2):
        peer.epoch(first)
        peer.step()  # warm
        begin = time.process_time()
        for _ in range(STEPS):
            peer.step()
        spent += time.process_time() - begin
    return {"rate": 2 * STEPS * batch / spent, "bytes": handed_on}


def settings(root: Path, batch: int, side: str) -> list[str]:
    """What our legs have in place of the demo's settings."""
    models = {
        "ours-their-net": {"name": "published_peer:UNet", "kwargs": {"checkout": str(root)}},
        "ours": {"name": "U-Net", "kwargs": {"backbone": "resnet18"}},
    }
    loss = {"name": "ExpLogLoss", "kwargs": {"dice_kwargs": {"do_bg": False, "batch_dice": True}}}
    parts = {"model": models[side], "train.loss": loss, "train.batch_size": batch}
    return [f"common.{name}={json.dumps(value)}" for name, value in parts.items()]


def ours(root: Path, batch: int, side: str) -> dict[str, float]:
    """Images/s of a later leg: of both fits, the model's and the expert's, and of the model's alone."""
    from loop import Clock
    from style import incoming, run

    given, clock = settings(root, batch, side), Clock()
    run(incoming(*given), *given, steps=OWN_STEPS, watch=[clock])
    fits = [clock.ends[start:][:OWN_STEPS] for start in range(0, len(clock.ends), OWN_STEPS)]
    spent = [ends[-1] - ends[WARM - 1] for ends in fits]
    images = (OWN_STEPS - WARM) * batch
    return {"leg": images / sum(spent), "model": images / spent[0]}


def bundle(root: Path, side: str, folder: Path) -> int:
    """Bytes of the bundle that the second site receives: a run of two legs of one step."""
    short = ["common.train.num_epochs=null", "common.train.num_mimgs=0.000001", "current_tasks.task_ids=[1,2]"]
    relay(folder, "train", "-c", "demo", "-n", side, *settings(root, 4, side), *short)
    return size(*(folder / "exps" / "demo" / side / "handoff").rglob("*.leg-1.*.relay.age"))


def measured(folder: Path, root: Path, side: str, batch: int) -> dict[str, float]:
    """What a process of its own measures."""
    child([sys.executable, "-W", "ignore", __file__, root, "--side", side, "--batch", batch], folder)
    found: dict[str, float] = json.loads((folder / "out.txt").read_text().splitlines()[-1])
    return found


def main(root: Path, batch: int, pairs: int) -> None:
    """Measure and print."""
    from setting import report

    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with scratch() as folder:
        for _ in range(pairs):
            for side in SIDES:
                found[side].append(measured(folder, root, side, batch))
        carried = {side: bundle(root, side, folder) for side in OURS}
    peers = found["published"]
    print(f"batches of {batch}; published code: {peers[0]['rate']:.3f} images/s")
    for side, net in OURS.items():
        for part, what in (("leg", "a later leg"), ("model", "a later leg without its expert")):
            ratios = [own[part] / peer["rate"] for own, peer in zip(found[side], peers, strict=True)]
            report(f"images/s of {what}, {net} : published code", ratios, "at least 15")
    for side, net in OURS.items():
        ratios = [own["MB"] / peer["MB"] for own, peer in zip(found[side], peers, strict=True)]
        report(f"peak memory, {net} : published code ({peers[0]['MB']:.0f} MB)", ratios, "none")
    for side, net in OURS.items():
        last = peers[0]["bytes"]
        print(f"bytes carried, {net} : published code: {carried[side] / 1e6:.0f} MB : {last / 1e6:.0f} MB")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("path", type=Path, help="a checkout of the published code")
    parser.add_argument("--batch", type=whole, default=16, help="images of a step (default 16)")
    parser.add_argument("--pairs", type=whole, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--side", choices=SIDES, help="measure only this one, once")
    given = parser.parse_args()
    if (name := lacking(given.path)) is not None:
        print(f"{given.path} has no {name}: give a checkout of {WHERE}", file=sys.stderr)
        sys.exit(2)
    # Before torch is imported, here or in a process of its own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("BENCH_GPU", None)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    where = given.path.resolve()
    if given.side:
        side, batch = given.side, given.batch
        rates = published(where, batch) if side == "published" else ours(where, batch, side)
        print(json.dumps({**rates, "MB": peak()}))
    else:
        main(where, given.batch, given.pairs)
