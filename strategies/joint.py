"""Joint: one leg over the pooled data of all sites. The upper bound that hospitals may not reach for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relay.config.options import options

from .base import Strategy


@options
class JointOptions:
    """``task_ids``: the sites to pool; default all that lie on this machine."""

    task_ids: list[int] | None = None


class Joint(Strategy):
    """Needs everybody's images in one place, so it refuses to run in a deployment."""

    Options = JointOptions
    uses_incoming = False
    pools_sites = True

    def pool(self, datasets: Mapping[int, Any]) -> Sequence[Any]:
        """The chosen sites, or all accessible ones; those of a wrong id are left to the config's check."""
        chosen = self.options.task_ids
        return [d for i, d in datasets.items() if (i in chosen if chosen is not None else d.accessible())]
