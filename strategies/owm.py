"""OWM: change weights only in directions that the inputs of earlier sites do not have.

Orthogonal weight modification (Zeng et al. 2019, 10.1038/s42256-019-0080-x): beside each layer travels a projector onto
the directions that its inputs at earlier sites left free.

Weights of linear and convolutional layers move within their projectors. Biases and what normalisation layers have
learned would change the outputs for any input; after the first leg they stay as they came.

It combines with other strategies by inheritance, named first: ``class RelayOWM(OWM, Relay)``, with the options of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from relay.config.options import Field, options
from relay.seeds import derive

from .base import Phase, Strategy, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handoff import Carry, Part


@options
class OWMOptions:
    """How much is left free.

    Attributes:
        owm_alpha: a direction is left half free in which a layer's inputs at a site have this share of their mean
            power; smaller holds more.
        owm_images: how many images a site's inputs are taken from; where there are fewer, each is taken several times.
    """

    owm_alpha: Annotated[float, Field(gt=0)] = 0.01
    owm_images: Annotated[int, Field(ge=1)] = 64


class OWM(Strategy):
    """Project each step of the weights; the first leg is plain training."""

    Options: ClassVar[type] = OWMOptions
    kinds = ("owm",)
    projectors: dict[str, Tensor]

    def receive(self, carry: Carry | None) -> None:
        """Start from the incoming weights, with the projectors of the legs before.

        Raises:
            CarryError: no projectors came, or they do not fit the solver.
        """
        super().receive(carry)
        import torch

        from relay.memory.projection import features, layers
        from relay.memory.weights import read

        sizes = {name: features(layer) for name, layer in layers(self.solver).items()}
        if carry is None:
            self.projectors = {name: torch.eye(size) for name, size in sizes.items()}
            return
        self.projectors = read(carry, "owm", {name: (size, size) for name, size in sizes.items()})
        for name, parameter in self.solver.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name in sizes)

    def phases(self) -> Sequence[Phase]:
        """Those it is combined with; where they train the solver, its steps are projected."""
        if self.incoming is None:
            return super().phases()
        from relay.memory.projection import Projected, Projectors
        from relay.memory.weights import beside

        held = Projectors(self.solver, self.projectors)
        return beside(super().phases(), self.solver, frozen=(held,), callbacks=(Projected(held),))

    def finish(self, training: Training) -> None:
        """Take from the projectors the directions of this site's inputs."""
        super().finish(training)
        from relay.memory.projection import correlations, update
        from relay.memory.views import views

        seed = derive(self.task.seed, self.task.site, "owm")
        found = correlations(self.solver, views(training, self.task.size, self.options.owm_images, seed), seed)
        alpha = self.options.owm_alpha
        self.projectors = {name: update(old, found[name], alpha) for name, old in self.projectors.items()}

    def running(self) -> Part | None:
        """The projectors of all sites so far."""
        from relay.memory.weights import part

        return part("owm", self.projectors, super().running())
