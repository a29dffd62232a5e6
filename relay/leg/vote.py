"""The vote: each site's expert predicts, and the router weighs them by how much the image looks like their sites'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

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
        counts: how many images each expert was trained on: an image is as likely from each of these, before its looks
            are known. Without them, it is as likely from each site.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        router: Router | None = None,
        otherwise: nn.Module | None = None,
        counts: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.sites = tuple(experts)
        self.nets = nn.ModuleList([*experts.values(), *([otherwise] if otherwise is not None else [])])
        self.router, self.counts = router, counts

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
        if self.counts:
            counts = found.new_tensor(self.counts) / max(self.counts)
            found[:, : len(counts)] *= counts
        shares = found / found.sum(1, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)
        return torch.where(strange, self._strange(image), shares)

    def _strange(self, image: Tensor) -> Tensor:
        """The weights for images that are unlike all sites."""
        many, sites = len(self.nets), len(self.sites)
        row = [0.0] * sites + [1.0] if many > sites else [1 / sites] * sites
        return torch.tensor(row, device=image.device).repeat(len(image), 1)

    def mixed(self, image: Tensor, predict: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """Logarithms of the mixed probabilities, ``(B, classes, *S)``, which serve as logits.

        Args:
            predict: applies one net to whole images.
        """
        weights = self.weights(image)
        weights = torch.where(weights < LEAST * weights.amax(1, keepdim=True), 0, weights)
        weights = weights / weights.sum(1, keepdim=True)
        total: Tensor | None = None
        for place, net in enumerate(self.nets):
            asked = weights[:, place].nonzero()[:, 0]
            if not len(asked):
                continue
            found = predict(net, image[asked]).float().softmax(1)
            share = weights[asked, place].view(-1, *[1] * (found.dim() - 1))
            if total is None:
                total = found.new_zeros(len(image), *found.shape[1:])
            total.index_add_(0, asked, found * share)
        assert total is not None  # each row of weights has a sum of 1
        return total.clamp(min=torch.finfo(total.dtype).tiny).log()
