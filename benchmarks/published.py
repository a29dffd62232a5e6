"""A later leg against the published code of Relay Learning (Bo et al. 2023): images/s, memory, and bytes carried.

    python benchmarks/published.py PATH [--batch N] [--pairs N]

PATH is a checkout of https://github.com/MeteorsHub/RelayLearning; mind its licences (its GANs come from NVIDIA's
StyleGAN2-ADA). What is compared is the second leg, which starts from what the first site handed over:

- theirs, as ``configs/fundus/relay.yaml`` has it (:mod:`published_peer`). A step updates generators, discriminators and
  the model: its ``solver_steps_ratio`` is unset, so no step leaves out the model. In the first half of a leg, the GANs
  learn the new site; in the second, half of each batch is replayed. As many steps of both halves are timed, 8 each,
  after which the penalties of generators (every 4 steps) and discriminators (every 8) come again.
- ours: a leg of the demo with the default strategy ``relay``, that is replay, the frozen teacher and projection; then
  the same with the expert, a second model, which the published code doesn't have. Both are measured with the published
  code's own U-Net, and with ours of the same name (backbone resnet18), whose decoder is lighter.

Images are counted alike: those that the steps take from the site, one batch a step. In their second half and with us,
half of them stand for earlier sites. What is counted favours the published code: our time includes Lightning, reading
and augmenting images, and writing curves; theirs has one batch in memory, and no logs. Its discriminators' augmentation
is as weak as at the beginning of a relay. Neither includes validation, or what begins and ends a
leg, which costs the same however long it is.

Time is the processor's, on one thread (or ``OMP_NUM_THREADS``). The published batch of 128 takes minutes a step there;
``--batch`` is what both use. Each measurement is a process of its own, whose peak memory counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from published_peer import EPOCHS, WHERE, Peer, lacking

STEPS = 8
"""Timed steps of each of their stages."""
OWN_STEPS, WARM = 28, 4
"""Steps of each of our fits, and how many of them are not timed."""


def theirs(root: Path, batch: int) -> dict[str, float]:
    """Images/s of a later leg of the published code, and the bytes of what it started from."""
    peer = Peer(root, batch)
    peer.first_leg()
    peer.save(file := Path("last.ckpt"))
    peer.next_leg()
    spent = 0.0
    for first in (EPOCHS, EPOCHS + EPOCHS // 2):
        peer.epoch(first)
        peer.step()  # warm
        begin = time.process_time()
        for _ in range(STEPS):
            peer.step()
        spent += time.process_time() - begin
    return {"rate": 2 * STEPS * batch / spent, "bytes": file.stat().st_size}


def settings(root: Path, batch: int, net: str) -> list[str]:
    """What our legs have in place of the demo's settings."""
    kwargs = {"checkout": str(root)} if net == "theirs" else {"backbone": "resnet18"}
    model = {"name": "published_peer:UNet" if net == "theirs" else "U-Net", "kwargs": kwargs}
    loss = {"name": "ExpLogLoss", "kwargs": {"dice_kwargs": {"do_bg": False, "batch_dice": True}}}
    parts = {"model": model, "train.loss": loss, "train.batch_size": batch}
    return [f"common.{name}={json.dumps(value)}" for name, value in parts.items()]


def ours(root: Path, batch: int, net: str) -> dict[str, float]:
    """Images/s of a later leg: of the model's fit, and of both fits, the model's and the expert's."""
    from loop import Clock
    from style import incoming, run

    given, clock = settings(root, batch, net), Clock()
    run(incoming(*given), *given, steps=OWN_STEPS, watch=[clock])
    fits = [clock.ends[start:][:OWN_STEPS] for start in range(0, len(clock.ends), OWN_STEPS)]
    spent = [ends[-1] - ends[WARM - 1] for ends in fits]
    images = (OWN_STEPS - WARM) * batch
    return {"model": images / spent[0], "leg": images / sum(spent)}


def bundle(root: Path, net: str, folder: Path) -> int:
    """Bytes of the bundle that the second site receives: a run of two legs of one step."""
    from scale import relay, size

    short = ["common.train.num_epochs=null", "common.train.num_mimgs=0.000001", "current_tasks.task_ids=[1,2]"]
    relay(folder, "train", "-c", "demo", "-n", net, *settings(root, 4, net), *short)
    return size(*(folder / "exps" / "demo" / net / "handoff").rglob("*.leg-1.*.relay.age"))


def measured(folder: Path, *words: object) -> dict[str, Any]:
    """What a process of its own measures, with its peak memory in MB."""
    from scale import child

    spent = child([sys.executable, "-W", "ignore", __file__, *words], folder)
    return {**json.loads((folder / "out.txt").read_text().splitlines()[-1]), "MB": spent["MB"]}


def main(root: Path, batch: int, pairs: int) -> None:
    """Measure and print."""
    from scale import scratch
    from setting import report

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("BENCH_GPU", None)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    nets = {"theirs": "their net", "ours": "our net"}
    found: dict[str, list[dict[str, Any]]] = {"peer": [], **{net: [] for net in nets}}
    with scratch() as folder:
        for _ in range(pairs):
            found["peer"].append(measured(folder, root, "--side", "peer", "--batch", batch))
            for net in nets:
                found[net].append(measured(folder, root, "--side", net, "--batch", batch))
        carried = {net: bundle(root, net, folder) for net in nets}
    print(f"batches of {batch}; published code: {found['peer'][0]['rate']:.3f} images/s")
    for net, said in nets.items():
        for part, what in (("model", "a later leg"), ("leg", "a later leg with its expert")):
            ratios = [own[part] / peer["rate"] for own, peer in zip(found[net], found["peer"], strict=True)]
            report(f"images/s of {what}, {said} : published code", ratios, "at least 15")
    for net, said in nets.items():
        ratios = [own["MB"] / peer["MB"] for own, peer in zip(found[net], found["peer"], strict=True)]
        report(f"peak memory, {said} : published code ({found['peer'][0]['MB']:.0f} MB)", ratios, "none")
    for net, said in nets.items():
        last = found["peer"][0]["bytes"]
        print(f"bytes carried, {said} : published code: {carried[net] / 1e6:.0f} MB : {last / 1e6:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a checkout of the published code")
    parser.add_argument("--batch", type=int, default=16, help="images of a step (default 16)")
    parser.add_argument("--pairs", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--side", choices=("peer", "theirs", "ours"), help="measure only this one, once")
    given = parser.parse_args()
    if (name := lacking(given.path)) is not None:
        print(f"{given.path} has no {name}: give a checkout of {WHERE}", file=sys.stderr)
        sys.exit(2)
    where = given.path.resolve()
    if given.side == "peer":
        print(json.dumps(theirs(where, given.batch)))
    elif given.side:
        print(json.dumps(ours(where, given.batch, given.side)))
    else:
        main(where, given.batch, given.pairs)
