"""Sequential: fine-tune the incoming model without preserving what it knew. The baseline that forgets."""

from __future__ import annotations

from .base import Strategy


class Sequential(Strategy):
    """Fine-tune the incoming model with the task's loss."""

    plain_start = True
    any_training = True
