"""Joint: one leg over the pooled data of all sites. It scores best, but hospitals aren't permitted to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from relay.config import options
from relay.errors import UserError

from .base import Strategy

if TYPE_CHECKING:
    from relay.data import Dataset


@options
class JointOptions:
    """Options of :class:`Joint`.

    Attributes:
        task_ids: the sites to pool; null pools all sites on this machine.
    """

    task_ids: list[int] | None = None


class Joint(Strategy):
    """Train on all sites' images in one place; refused in a deployment."""

    Options = JointOptions
    uses_incoming = False
    pools_sites = True

    def pool(self, datasets: Mapping[int, Dataset]) -> Sequence[Dataset]:
        """The chosen sites, or all that are here and are not for testing alone.

        Raises:
            UserError: a chosen site has no data set in the config or is not here, or no site is here.
        """
        chosen = self.options.task_ids
        here = {i: d for i, d in datasets.items() if d.accessible()}
        wrong = sorted(set(chosen or ()) - set(here))
        if wrong or not here:
            tasks = f"task {', '.join(map(str, wrong))}" if wrong else "any site"
            known = ", ".join(map(str, here)) or "none"
            raise UserError(f"joint: no data on this machine for {tasks}", f"Available: {known}; check root_path.")
        trainable = [d for i, d in here.items() if (i in chosen if chosen else d.options.split != "test")]
        return trainable or list(here.values())
