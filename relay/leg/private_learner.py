"""A phase trained with a guarantee: each step's gradient is the noisy mean of the patients' clipped gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from relay.data import patient_loader
from relay.errors import TrainingError
from relay.leg.guarantee import Guarantee
from relay.leg.learner import Learner, usable
from relay.leg.lightning_adapter import start_next_epoch
from relay.noise import noisy_mean_gradient
from relay.phase import Batch
from relay.seeds import derive


class PrivateLearner(Learner):
    """Runs one phase by patients; for its arguments see :class:`~relay.leg.learner.Learner`.

    Attributes:
        guarantee: the noise, who takes part, and the rest of what the account says.
    """

    guarantee: Guarantee | None = None

    def train_dataloader(self) -> Any:
        """The steps, each with the images of the patients that take part."""
        start_next_epoch(self.trainer)
        guarantee, name = self.guarantee, self.phase.name
        assert guarantee is not None
        loader = patient_loader(
            [site.train for site in self.sites],
            self.leg.data,
            lambda many, step: guarantee.secret.uniform(many, name, "who", step) < guarantee.rate,
            steps=guarantee.epoch,
            images=guarantee.options.images,
            seed=derive(self._seed, name),
            site=self.leg.task_name,
            workers=usable(self.leg.conf.num_workers),
        )
        sampler: Any = loader.sampler
        sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)
        return loader

    def training_step(self, batch: Any, place: int) -> Tensor:
        """A loss whose gradient is the noisy mean: the optimiser, its schedule and whatever acts between steps never
        see another one."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        guarantee, step = self.guarantee, batch["step"]
        assert guarantee is not None
        before = [buffer.clone() for buffer in self.module.buffers()]
        found: list[Tensor] = []
        gradient = noisy_mean_gradient(
            self._losses(batch, found),
            trained,
            guarantee.options.clip,
            guarantee.noise,
            guarantee.expected,
            lambda many: guarantee.secret.normal(many, self.phase.name, "noise", step),
        )
        self._check_buffers(before)
        if found:
            mean = torch.stack(found).mean()
            self.first_bad = torch.where((self.first_bad < 0) & ~mean.isfinite(), step, self.first_bad)
            self.log(f"{self.phase.name}/loss", mean, batch_size=len(found))
        return torch.stack([(p * part).sum() for p, part in zip(trained, gradient, strict=True)]).sum()

    def _losses(self, batch: Any, found: list[Tensor]) -> Iterator[Tensor]:
        """The loss of each patient, alone. What is random in it (dropout) is seeded by patient and step: with one
        sequence for all, a patient would change what is drawn for those who come after."""
        for name, images in zip(batch["names"], batch["batches"], strict=True):
            torch.manual_seed(derive(self._seed, self.leg.task_name, self.phase.name, batch["step"], name))
            own = Batch(self.image_of(images), self.task.label(images["label"]), images["index"])
            loss = torch.stack(list(self.phase.loss(own).values())).sum()
            found.append(loss.detach())
            yield loss

    def _check_buffers(self, before: list[Tensor]) -> None:
        if all(torch.equal(old, new) for old, new in zip(before, self.module.buffers(), strict=True)):
            return
        raise TrainingError(
            "train.privacy: the net keeps statistics of the images that it sees, which would leave without noise",
            "Use a net that has none, such as one with group normalisation.",
        )
