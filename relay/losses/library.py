"""monai's losses with the toolkit's signature: logits and class indices, in float32 (imports torch: import it late)."""

from __future__ import annotations

from typing import Any

from monai.losses import FocalLoss, GeneralizedDiceLoss, HausdorffDTLoss, TverskyLoss
from torch import Tensor, nn


class Indexed(nn.Module):
    """A loss of monai, which wants an axis for the classes in the target."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        # its class weights are buffers: they belong to the config, not to a model's saved state
        for name, tensor in list(loss.named_buffers(recurse=False)):
            loss.register_buffer(name, tensor, persistent=False)
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        loss: Tensor = self.loss(logits.float(), target.unsqueeze(1))
        return loss


def focal(o: Any) -> nn.Module:
    """See :class:`relay.losses.focal.Focal`."""
    kept = {"include_background": o.include_background, "weight": o.weight}
    return Indexed(FocalLoss(to_onehot_y=True, use_softmax=True, gamma=o.gamma, **kept))


def tversky(o: Any) -> nn.Module:
    """See :class:`relay.losses.focal.Tversky`."""
    return Indexed(TverskyLoss(alpha=o.alpha, beta=o.beta, **_of_dice(o)))


def generalised_dice(o: Any) -> nn.Module:
    """See :class:`relay.losses.focal.GeneralisedDice`."""
    return Indexed(GeneralizedDiceLoss(w_type=o.weighting, **_of_dice(o)))


def boundary(exponent: float) -> nn.Module:
    """The second term of :class:`relay.losses.focal.DiceBoundary`."""
    return Indexed(HausdorffDTLoss(alpha=exponent, to_onehot_y=True, softmax=True))


def _of_dice(o: Any) -> dict[str, Any]:
    """What the losses of the Dice family have in common."""
    smooth = {"smooth_nr": o.smooth, "smooth_dr": o.smooth}
    common = {"include_background": o.include_background, "batch": o.batch_dice}
    return {"to_onehot_y": True, "softmax": True} | common | smooth
