"""Sequential: fine-tune the incoming model without preserving what it knew. The baseline that forgets."""

from __future__ import annotations

from .base import Strategy


class Sequential(Strategy):
    """The plain base: start from the incoming model, minimise the task's loss."""
