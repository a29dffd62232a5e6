"""Deep supervision: a loss of every output of a net that has several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from relay import registry
from relay.config import Field, Named, check, options
from relay.errors import UserError
from relay.losses.segmentation import Loss, NotNegative

if TYPE_CHECKING:
    from torch import nn


def _known(loss: Named) -> Named:
    try:
        cls = registry.find("losses", loss.name)
    except UserError as error:
        raise ValueError(f"{error}. {error.advice()}") from error
    if issubclass(cls, DeepSupervision):
        raise ValueError("DeepSupervision can't be the loss of each output: name another")
    fits = getattr(cls, "tasks", DeepSupervision.tasks)  # somebody's own may not say
    if not {*fits} & {*DeepSupervision.tasks}:
        raise ValueError(f"{loss.name} is for {' and '.join(fits)}, not segmentation: name another")
    if problems := check(cls, loss.kwargs)[1]:
        raise ValueError("; ".join(map(str, problems)))
    return loss


@options
class DeepSupervision(Loss):
    """A loss of each output of a net with several (Lee et al. 2015, arXiv:1409.5185), such as ``monai:DynUNet`` with
    ``deep_supervision: true``; their weighted mean.

    A strategy that puts remembered and own images into one batch trains the main output only.

    Attributes:
        loss: of each output, by name and kwargs.
        weights: of the main output, the next, and so on; later outputs than there are weights for are left out.
    """

    loss: Annotated[Named, AfterValidator(_known)] = Field(default_factory=lambda: Named(name="DiceCE"))
    weights: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1.0, 0.5, 0.25, 0.125)

    @model_validator(mode="after")
    def _the_answer_counts(self) -> Self:
        if self.weights[0] == 0:
            raise ValueError("the first weight, of the net's answer, can't be 0")
        return self

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import EachOutput

        made: Any = registry.find("losses", self.loss.name)(**self.loss.kwargs)
        return EachOutput(made.build(num_classes), self.weights)
