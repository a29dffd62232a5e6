"""OWM: change weights only in directions that the inputs of earlier sites don't have.

Orthogonal weight modification (Zeng et al. 2019, 10.1038/s42256-019-0080-x): for each layer, the
directions of its inputs at earlier sites travel with the model.

Weights of linear and convolutional layers move little in these directions. Biases and the parameters of
normalisation layers would change the outputs for any input; after the first leg, they stay fixed.

To combine it with another strategy, inherit from both, this one first, as in :mod:`.relay`, with the options of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from relay.config import Field, options
from relay.seeds import derive

from .base import Phase, Strategy, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState


@options
class OWMOptions:
    """How much may change.

    Attributes:
        owm_alpha: a direction with this share of the mean power of a layer's inputs at a site is left half free;
            smaller values hold more, null holds nothing.
        owm_directions: most directions held per layer: each travels as one number per input of the layer.
        owm_images: number of images that a site's inputs are taken from; if there are fewer, they are repeated.
    """

    owm_alpha: Annotated[float, Field(gt=0)] | None = 0.01
    owm_directions: Annotated[int, Field(ge=1)] = 32
    owm_images: Annotated[int, Field(ge=1)] = 64


class OWM(Strategy):
    """Project each step of the weights; the first leg is plain training.

    Attributes:
        holds_rest: whether weights of other kinds stay fixed.
        earlier: weight of the earlier sites, relative to what the options say.
        held: directions of each layer's inputs, by the name of its weight, as in
            :func:`relay.memory.projection.update`.
    """

    Options: ClassVar[type] = OWMOptions
    any_training = True
    holds_rest: ClassVar[bool] = True
    earlier: float = 1.0
    held: Mapping[str, Tensor] = {}

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.alpha = options.owm_alpha
        if self.alpha is not None:
            self.kinds = (*self.kinds, "owm")

    def receive(self, handover: Handover | None) -> None:
        """Start from the incoming weights, with the directions held for earlier legs.

        Raises:
            HandoverError: there are no directions, or they don't match the model.
        """
        super().receive(handover)
        if self.alpha is None:
            return
        from relay.memory import nothing, received

        empty = nothing(self.model, self.options.owm_directions)
        self.held = received(handover, empty) if handover else empty
        if handover and self.holds_rest:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and name in self.held)

    def phases(self) -> Sequence[Phase]:
        """The phases of the combined strategies; the steps of those that train the model are projected."""
        if self.incoming is None or not self.held:
            return super().phases()
        from relay.memory import Projected, Projectors, beside, weaker

        held = self.held
        if self.earlier < 1:
            held = {name: weaker(columns, self.earlier) for name, columns in held.items()}
        projectors = Projectors(self.model, held)
        return beside(super().phases(), self.model, frozen=(projectors,), callbacks=(Projected(projectors),))

    def finish(self, training: Training) -> None:
        """Add the directions of this site's inputs."""
        super().finish(training)
        if not self.held:
            return
        from relay.memory import seen, update, views

        seed = derive(self.task.seed, self.task.site, "owm")
        found = seen(self.model, views(training, self.task.size, self.options.owm_images, seed), seed)
        self.held = {name: update(old, found[name], self.alpha, seed) for name, old in self.held.items()}

    def cumulative(self) -> MemoryState | None:
        """The directions held for all sites so far."""
        if not self.held:
            return super().cumulative()
        from relay.memory import state

        return state("owm", self.held, super().cumulative())
