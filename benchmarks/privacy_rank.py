"""An attack that the privacy audit does not use, in code that it does not share: does it put models in the same order?

A classifier is trained to tell, from what a model makes of an image, whether the image was trained on; its examples are
the outputs of shadow models (Shokri et al. 2017, arXiv:1610.05820; for masks, He et al. 2020, arXiv:1912.09685). It
learns one rule for all patients, where LiRA has one for each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor, nn
from torch.nn import functional

Fit = Callable[[Tensor, Tensor, int], nn.Module]
"""Images, labels and a seed to a model that was trained as the target was."""
SHADOWS, SHARES, RIDGE = 6, torch.linspace(0.05, 0.95, 7), 0.05


def attack(target: nn.Module, image: Tensor, label: Tensor, members: int, fit: Fit, seed: int) -> float:
    """The AUC of the attack on a model that was trained on the first ``members`` images, and not on the others."""
    draw, many = np.random.default_rng([seed, 711]), len(image)
    rows, inside = [], []
    for number in range(SHADOWS):
        taken = torch.zeros(many, dtype=torch.bool)
        taken[torch.from_numpy(draw.permutation(many)[: many // 2])] = True
        shadow = fit(image[taken], label[taken], seed * 1000 + number)
        rows.append(_outputs(shadow, image, label))
        inside.append(taken.double())
    seen = torch.cat(rows)
    middle, spread = seen.mean(0), seen.std(0) + 1e-6
    rule = _logistic((seen - middle) / spread, torch.cat(inside))
    score = ((_outputs(target, image, label) - middle) / spread @ rule).numpy()
    found = mannwhitneyu(score[:members], score[members:])
    return float(found.statistic / (members * (many - members)))


@torch.no_grad()
def _outputs(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """What the classifier looks at, float64 ``(N, F)``: how the probability of the true label and that of the likeliest
    one are distributed over the pixels; of a class, which has one, these two."""
    chance = model(image).double().softmax(1)
    true = chance.gather(1, label[:, None]).flatten(1)
    likeliest = chance.max(1).values.reshape(len(image), -1)
    told = [value.clamp(1e-6, 1 - 1e-6).logit() for value in (true, likeliest)]
    if true.shape[1] == 1:
        return torch.cat(told, 1)
    return torch.cat([torch.quantile(value, SHARES.double(), dim=1).T for value in told], 1)


def _logistic(x: Tensor, y: Tensor) -> Tensor:
    """Weights ``(F,)`` of a ridge logistic regression; its offset changes no order."""
    weight = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        found = functional.binary_cross_entropy_with_logits(x @ weight[:-1] + weight[-1], y)
        found = found + RIDGE * weight[:-1].square().sum()
        found.backward()
        return found

    solver.step(loss)
    return weight.detach()[:-1]
