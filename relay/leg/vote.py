"""The vote: each site's expert predicts, and the router weighs them by how much the image looks like their sites'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from relay.tasks import Task

if TYPE_CHECKING:
    from relay.memory import Router

LEAST = 0.01
"""An expert is not asked if its weight is smaller than this share of the largest one."""


class Vote(nn.Module):
    """Experts as one model. Apply it to whole images with :func:`relay.leg.inference.predict`.

    It is the mixture of the experts' probabilities, with the weights of the router: that of
    "mixtures of local experts" (Jacobs et al. 1991, 10.1162/neco.1991.3.1.79), with a gate that was not trained with
    them. Experts of sites that the router does not know have a weight only where it decides nothing.

    Args:
        experts: one net for each site, by its name.
        router: gives the weights; without one, every image counts as unlike all sites.
        otherwise: a net for images that are unlike all sites; without one, all experts weigh the same for them.
        task: says what the nets' outputs mean, and so what is mixed: probabilities, or numbers.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        router: Router | None = None,
        otherwise: nn.Module | None = None,
        *,
        task: Task,
    ) -> None:
        super().__init__()
        self.sites = tuple(experts)
        self.nets = nn.ModuleList([*experts.values(), *([otherwise] if otherwise is not None else [])])
        self.router, self.task = router, task

    def weights(self, image: Tensor) -> Tensor:
        """The weight of each net for each image: ``(B, C, *S)``, as nets see them, to ``(B, nets)`` with rows of sum 1.
        The experts come first, in the order of :attr:`sites`."""
        if self.router is None:
            return self._strange(image)
        known, whose = self.router.weights(image), self.router.sites
        columns = [known[:, whose.index(s)] if s in whose else known.new_zeros(len(image)) for s in self.sites]
        found = torch.stack([*columns, *[known.new_zeros(len(image))] * (len(self.nets) - len(self.sites))], 1)
        total = found.sum(1, keepdim=True)  # below 1 if an expert was withdrawn
        strange = self.router.strange(image)[:, None] | (total < LEAST)
        return torch.where(strange, self._strange(image), found / total.clamp(min=LEAST))

    def asked(self, image: Tensor) -> Tensor:
        """:meth:`weights`, with 0 for nets that would hardly count and are not asked."""
        weights = self.weights(image)
        weights = torch.where(weights < LEAST * weights.amax(1, keepdim=True), 0, weights)
        return weights / weights.sum(1, keepdim=True)

    def _strange(self, image: Tensor) -> Tensor:
        """The weights for images that are unlike all sites."""
        many, sites = len(self.nets), len(self.sites)
        row = [0.0] * sites + [1.0] if many > sites else [1 / sites] * sites
        return torch.tensor(row, device=image.device).repeat(len(image), 1)

    def mixed(self, image: Tensor, predict: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """The mixed answers as logits, ``(B, outputs, *S)`` or ``(B, outputs)``: of classes, log-probabilities.

        Args:
            predict: applies one net to whole images.
        """
        weights = self.asked(image)
        total: Tensor | None = None
        for place, net in enumerate(self.nets):
            asked = weights[:, place].nonzero()[:, 0]
            if not len(asked):
                continue
            found = self.task.answer(predict(net, image[asked]))
            share = weights[asked, place].view(-1, *[1] * (found.dim() - 1))
            if total is None:
                total = found.new_zeros(len(image), *found.shape[1:])
            total.index_add_(0, asked, found * share)
        assert total is not None  # each row of weights has a sum of 1
        return self.task.logits(total)
