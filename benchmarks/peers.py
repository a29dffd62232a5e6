"""Training and inference against what people would use instead: same net, same images, same machine, in one process.

On a CPU, time is the processor's, so that what else the machine does matters little; on a GPU, it is the clock's.

    python benchmarks/peers.py --data FOLDER

A 2D and a 3D set: ``cxr_lungs/italy`` at 96 x 96, batches of 8; patches of 32 x 32 x 32 of ``hippocampus``, batches of
4. Everyone trains the study's own net with Adam and Dice and cross-entropy, mirrors at random, and crops where there
are patches; all run without worker processes, with their images in memory. The peers:

- a plain PyTorch loop over tensors, which crops and mirrors whole batches: the least that one can write;
- Lightning's Trainer with a DataLoader over the same tensors;
- MONAI's CacheDataset, DataLoader and SupervisedTrainer (needs pytorch-ignite);
- nnU-Net's trainer, without augmentation and deep supervision, with our net in it (needs nnunetv2).

For inference, whole images: MONAI's SlidingWindowInferer, and nnU-Net's predictor without mirroring, each with the
overlap and the blending of relay. A peer that is not installed is left out, and the output says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet_peer import NnUNet
from setting import DEVICES, model_of, now, phase_of, report, scratch, site_of
from torch import Tensor, nn

from relay.config import locate, read
from relay.data import SiteData, scaled
from relay.leg import OVERLAP, KeepState, Learner, Progress, ShowProgress, StopOnNonFinite, device_of, fit, predict
from relay.plan import Leg, plan

STEPS, WARM, PAIRS = 30, 6, 3
DEVICE = device_of(DEVICES)
STUDIES = {"cxr_lungs, 2D": "evidence/cxr_lungs", "hippocampus, 3D": "hippocampus/hippocampus"}


@dataclass(frozen=True)
class Study:
    """The first leg of a study, and its images as plain tensors."""

    leg: Leg
    site: SiteData

    @cached_property
    def images(self) -> list[Tensor]:
        """What the net sees of each image, ``(C, *S)``."""
        raw = [torch.tensor(np.asarray(self.site.train[i][0])) for i in range(len(self.site.train))]
        return [scaled(image.movedim(-1, 0)[None], self.leg.data.intensity_range)[0] for image in raw]

    @cached_property
    def masks(self) -> list[Tensor]:
        """Class indices, ``(*S)``."""
        return [torch.tensor(np.asarray(self.site.train[i][1])).long() for i in range(len(self.site.train))]

    @property
    def size(self) -> tuple[int, ...]:
        """Of what is trained on: a patch, or the image."""
        return tuple(self.leg.data.patch_size or self.images[0].shape[1:])

    @property
    def batch(self) -> int:
        """Images of a step."""
        return int(self.leg.train.batch_size)

    def net(self) -> nn.Module:
        """A new one, always with the same weights."""
        return model_of(self.leg)  # type: ignore[no-any-return]

    def loss(self) -> nn.Module:
        """The study's criterion."""
        return self.leg.loss.build(self.leg.data.num_classes)

    def adam(self, net: nn.Module) -> torch.optim.Optimizer:
        """The study's optimiser."""
        return self.leg.optimizer.build(net.parameters())

    def window(self, index: int) -> tuple[Tensor, Tensor]:
        """A random patch, and its mask."""
        image, mask = self.images[index], self.masks[index]
        if tuple(mask.shape) != self.size:
            lack = [max(0, want - have) for want, have in zip(self.size, mask.shape, strict=True)]
            pad = [side for each in reversed(lack) for side in (0, each)]
            image, mask = nn.functional.pad(image, pad), nn.functional.pad(mask, pad)
            at = [int(torch.randint(have - want + 1, ())) for have, want in zip(mask.shape, self.size, strict=True)]
            where = tuple(slice(begin, begin + want) for begin, want in zip(at, self.size, strict=True))
            image, mask = image[(slice(None), *where)], mask[where]
        return image, mask


class Clock:
    """Images/s after the first steps."""

    def __init__(self, batch: int) -> None:
        self.batch, self.ends = batch, [0.0]

    def tick(self) -> None:
        """A step is over."""
        self.ends.append(now())

    @property
    def rate(self) -> float:
        """Of all steps but the first ones."""
        return self.batch * (len(self.ends) - 1 - WARM) / (self.ends[-1] - self.ends[WARM])


def mirrored(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """A batch, along axes that are drawn."""
    axes = [axis for axis in range(1, mask.ndim) if torch.rand(()) < 0.5]
    return image.flip([axis + 1 for axis in axes]), mask.flip(axes)


def train_relay(study: Study) -> float:
    """A leg's own loop: Lightning, its callbacks, its curves, its state, its loader."""
    import pytorch_lightning as pl

    clock, folder, model = Clock(study.batch), scratch(), study.net()

    class Ticks(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            clock.tick()

    phase, criterion = phase_of(study.leg, model)
    learner = Learner(study.leg, phase, [study.site], STEPS + WARM, companions=(criterion,))
    state = folder / "state.ckpt"
    watch = [ShowProgress(Progress(STEPS + WARM)), StopOnNonFinite(20, folder), Ticks(), KeepState(state, 30)]
    fit(learner, state, folder / "curves", DEVICES, watch)
    shutil.rmtree(folder)
    return clock.rate


def train_torch(study: Study) -> float:
    """The shortest loop."""
    net, clock = study.net().train().to(DEVICE), Clock(study.batch)
    loss, optimizer = study.loss().to(DEVICE), study.adam(net)
    for _ in range(STEPS + WARM):
        chosen = torch.randint(len(study.images), (study.batch,)).tolist()
        image, mask = mirrored(*map(torch.stack, zip(*map(study.window, chosen), strict=True)))
        optimizer.zero_grad()
        loss(net(image.to(DEVICE)), mask.to(DEVICE)).backward()
        optimizer.step()
        clock.tick()
    return clock.rate


def train_lightning(study: Study) -> float:
    """Lightning without us: no curves, no state."""
    import pytorch_lightning as pl

    clock = Clock(study.batch)

    class Windows(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return (STEPS + WARM) * study.batch

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            image, mask = study.window(index % len(study.images))
            image, mask = mirrored(image[None], mask[None])
            return image[0], mask[0]

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.loss = study.net(), study.loss()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return study.adam(self.net)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return self.loss(self.net(batch[0]), batch[1])  # type: ignore[no-any-return]

        def on_train_batch_end(self, *_: Any) -> None:
            clock.tick()

    trainer = pl.Trainer(
        accelerator=DEVICES.accelerator, devices=DEVICES.devices, max_steps=STEPS + WARM, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(Windows(), study.batch, shuffle=True))
    return clock.rate


def train_monai(study: Study) -> float:
    """CacheDataset, DataLoader, SupervisedTrainer."""
    from ignite.engine import Events
    from monai.data import CacheDataset, DataLoader
    from monai.engines import SupervisedTrainer
    from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd, ToTensord

    both = ["image", "label"]
    pairs = [{"image": i, "label": m[None]} for i, m in zip(study.images, study.masks, strict=True)]
    flips = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(len(study.size))]
    crop = [SpatialPadd(both, study.size), RandSpatialCropd(both, study.size, random_size=False)]
    cached = CacheDataset(pairs, Compose([ToTensord(both), *crop, *flips]), progress=False)
    loader = DataLoader(cached, batch_size=study.batch, shuffle=True, drop_last=True)
    net, clock, loss = study.net().to(DEVICE), Clock(study.batch), study.loss().to(DEVICE)
    trainer = SupervisedTrainer(
        device=DEVICE, max_epochs=10**6, train_data_loader=loader, network=net,
        optimizer=study.adam(net), loss_function=lambda found, mask: loss(found, mask[:, 0].long()),
    )  # fmt: skip

    def ticked(engine: Any) -> None:
        clock.tick()
        if len(clock.ends) > STEPS + WARM:
            engine.terminate()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, ticked)
    trainer.run()
    return clock.rate


def infer(study: Study, one: Callable[[Tensor], Tensor]) -> float:
    """Whole images/s."""
    with torch.inference_mode():
        one(study.images[0][None].to(DEVICE))
        begin = now()
        for image in study.images[:8]:
            one(image[None].to(DEVICE))
    return 8 / (now() - begin)


def infer_relay(study: Study) -> float:
    """As a leg tests."""
    net = study.net().eval().to(DEVICE)
    return infer(study, lambda image: predict(net, image, study.leg.data.patch_size))


def infer_monai(study: Study) -> float:
    """MONAI's sliding window."""
    from monai.inferers import SlidingWindowInferer

    net, slide = study.net().eval().to(DEVICE), SlidingWindowInferer(study.size, 16, OVERLAP, mode="gaussian")
    return infer(study, lambda image: slide(image, net))


def compared(study: Study, own: Callable[[Study], float], peer: Callable[[Study], float]) -> list[float]:
    """Ratios of pairs, each time the other one first."""
    pairs = []
    for number in range(PAIRS):
        order = (own, peer) if number % 2 else (peer, own)
        rates = {which: which(study) for which in order}
        pairs.append(rates[own] / rates[peer])
    return pairs


def peers(study: Study) -> Iterator[tuple[str, Callable[[Study], float], Callable[[Study], float]]]:
    """What is compared: a name, ours, theirs."""
    yield "training, images/s : plain PyTorch", train_relay, train_torch
    yield "training, images/s : Lightning", train_relay, train_lightning
    if importlib.util.find_spec("ignite"):
        yield "training, images/s : MONAI's SupervisedTrainer", train_relay, train_monai
    yield "inference, images/s : MONAI's sliding window", infer_relay, infer_monai
    if importlib.util.find_spec("nnunetv2"):
        theirs = NnUNet(study)
        yield "training, images/s : nnU-Net's trainer", train_relay, lambda _: theirs.train(STEPS, WARM)
        yield "inference, images/s : nnU-Net's predictor", infer_relay, lambda _: infer(study, theirs.predictor())


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cxr_lungs and hippocampus")
    parser.add_argument("--only", default="", help="only the comparisons whose name has this text")
    given = parser.parse_args()
    folder = given.data
    for package, whose in (("ignite", "MONAI's SupervisedTrainer needs pytorch-ignite"), ("nnunetv2", "nnU-Net")):
        if not importlib.util.find_spec(package):
            print(f"left out: {whose}, which is not installed", file=sys.stderr)
    for name, config in STUDIES.items():
        path, title = locate(config)
        places = [f"paths.cxr={folder}/cxr_lungs"] if "cxr" in config else [f"paths.hippocampus={folder}/hippocampus"]
        leg = plan(read(path, [*places, "common.train.check_val_every_n_epoch=100000"]), title).legs[0]
        study = Study(leg, site_of(leg))
        for what, own, peer in peers(study):
            if given.only in f"{what} ({name})":
                report(f"{what} ({name})", compared(study, own, peer), "at least 1")


if __name__ == "__main__":
    main()
