"""Local: every site trains its own model from scratch, as without any collaboration."""

from __future__ import annotations

from .base import Strategy


class Local(Strategy):
    """Uses nothing from other sites."""

    uses_incoming = False
