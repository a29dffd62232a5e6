"""A phase as a LightningModule: its batches, its terms as one loss, its curves, optimiser and schedule."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from relay.data import SiteData, scaled, train_loader
from relay.leg.inference import batches, predict
from relay.leg.lightning_adapter import start_next_epoch
from relay.optim import warmed
from relay.phase import Batch, Phase
from relay.plan import Leg
from relay.seeds import derive

log = logging.getLogger(__name__)


def usable(workers: int) -> int:
    """The number of worker processes, at most one per core: more would wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > cores:
        log.info("num_workers is %d; %d are used, one for each core of this machine", workers, cores)
    return min(workers, cores)


class Validation(IterableDataset[Any]):
    """The validation images of some sites, whole, as ready batches."""

    def __init__(self, sites: Sequence[SiteData]) -> None:
        self.stores = [site.val for site in sites]

    def __iter__(self) -> Iterator[Any]:
        for store in self.stores:
            yield from batches(store)


class Learner(pl.LightningModule):
    """Runs one :class:`~relay.phase.Phase` of a leg.

    Args:
        leg: how to train: batch size, optimiser, schedule, seed.
        phase: what is trained, and the loss.
        sites: the data of the sites that the leg trains on.
        total_steps: optimiser steps of the whole phase, for the schedule.
        companions: modules the loss needs on the same device (the criterion's class weights).
        lap: which of the site's turns this is; a later one draws other batches.

    Attributes:
        guarantee: of a phase trained with differential privacy (:class:`.PrivateLearner`); else None.
    """

    guarantee: Any = None

    def __init__(
        self,
        leg: Leg,
        phase: Phase,
        sites: Sequence[SiteData],
        total_steps: int,
        companions: Sequence[nn.Module] = (),
        lap: int = 1,
    ) -> None:
        super().__init__()
        self.leg, self.phase, self.sites, self.total_steps = leg, phase, sites, total_steps
        self.module = phase.module
        again = ("lap", lap) if lap > 1 else ()
        self._seed = derive(leg.conf.random_seed, *again) if again else leg.conf.random_seed
        self.extra_state = nn.ModuleList(phase.extra_state)
        self._companions = (*phase.frozen, *companions)  # a tuple, so that they are not in the saved state
        self.task = leg.data.does
        self.scores: Any = nn.ModuleDict(self.task.meters())
        self.first_bad = torch.tensor(-1)

    def train_dataloader(self) -> Any:
        """This process's share of the training batches.

        When a fit resumes, Lightning calls this after it has read the saved state and before it begins.
        """
        start_next_epoch(self.trainer)
        loader: Any = train_loader(
            [site.train for site in self.sites],
            self.leg.data,
            batch_size=self.leg.train.batch_size,
            seed=derive(self._seed, self.phase.name),
            site=self.leg.task_name,
            workers=usable(self.leg.conf.num_workers),
            rank=self.global_rank,
            world_size=self.trainer.world_size,
            pinned=self.device.type == "cuda",
        )
        loader.sampler.set_epoch(
            self.trainer.fit_loop.epoch_progress.current.processed
        )  # workers begin before the epoch does
        return loader

    def val_dataloader(self) -> Any:
        """The validation images; every process reads all of them."""
        return DataLoader(Validation(self.sites), batch_size=None)

    def on_fit_start(self) -> None:
        """Also move what is not trained to the device."""
        self.first_bad = self.first_bad.to(self.device)
        for companion in self._companions:
            companion.to(self.device, self.dtype)

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch alone, like the order of samples, so that resuming needs no stored random state."""
        where = (self.leg.task_name, self.phase.name, self.current_epoch, self.global_rank)
        torch.manual_seed(derive(self._seed, *where))

    def training_step(self, batch: dict[str, Tensor], place: int) -> Tensor:
        """One batch's loss. The device records the first batch with a loss that is not finite; nothing waits for it."""
        terms = self.phase.loss(Batch(self.image_of(batch), self.task.label(batch["label"]), batch["index"]))
        loss = torch.stack(list(terms.values())).sum()
        bad = (self.first_bad < 0) & ~loss.detach().isfinite()
        number = self.current_epoch * int(self.trainer.num_training_batches) + place
        self.first_bad = torch.where(bad, number, self.first_bad)
        curves = {"loss": loss, **terms} if len(terms) > 1 else {"loss": loss}
        self.log_dict({f"{self.phase.name}/{name}": value.detach() for name, value in curves.items()})
        return loss

    def validation_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Scores on the validation split, at the network's resolution; returns what was decided."""
        logits = predict(self.module, self.image_of(batch), self.leg.data.patch_size)
        decided, label = self.task.decide(logits), self.task.label(batch["label"])
        for score in self.scores.values():
            score.update(decided, label)
        return decided

    def on_validation_epoch_end(self) -> None:
        """The primary metric, ``val/<name>``, and what else the task measures."""
        for name, score in self.scores.items():
            self.log(f"val/{name}", score.class_mean())
            score.reset()

    def image_of(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch's images as the net gets them, ``(B, C, *S)``."""
        return scaled(batch["image"], self.leg.data.intensity_range).to(self.dtype)

    def configure_optimizers(self) -> Any:
        """The optimiser over what is trained, its schedule stepped every step."""
        options = self.phase.optimizer or self.leg.optimizer
        if self.phase.rate != 1 and hasattr(options, "lr"):  # somebody's own optimiser may have none
            options = dataclasses.replace(options, lr=options.lr * self.phase.rate)
        optimizer = options.build([p for p in self.module.parameters() if p.requires_grad])
        schedule = warmed(self.leg.scheduler, optimizer, self.total_steps, self.leg.train.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
