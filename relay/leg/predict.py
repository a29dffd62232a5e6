"""From 8-bit images to logits: the one way a solver is applied to a whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

OVERLAP = 0.25
"""Of neighbouring windows, as a share of their side."""


def scale(image: Tensor, out_range: Sequence[float]) -> Tensor:
    """uint8 ``0..255`` to float ``out_range``."""
    low, high = out_range
    return image.float().mul_((high - low) / 255).add_(low)


@torch.no_grad()
def predict(solver: nn.Module, image: Tensor, patch_size: Sequence[int] | None = None) -> Tensor:
    """Logits of whole images, ``(B, C, *spatial)`` to ``(B, classes, *spatial)``.

    With a ``patch_size``, the size the solver was trained on, windows of that size slide over the image and
    their logits are blended with Gaussian weights; else the image goes through the solver at once.
    """
    training = solver.training
    solver.eval()
    try:
        if patch_size is None:
            return solver(image)  # type: ignore[no-any-return]
        from monai.inferers import sliding_window_inference

        return sliding_window_inference(  # type: ignore[no-any-return]
            image, tuple(patch_size), 16, solver, overlap=OVERLAP, mode="gaussian", padding_mode="reflect"
        )
    finally:
        solver.train(training)
