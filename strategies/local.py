"""Local: every site trains its own model from scratch, as without any collaboration."""

from __future__ import annotations

from .base import Strategy


class Local(Strategy):
    """Train each site alone, from scratch."""

    uses_incoming = False
    plain_start = True
    any_training = True
