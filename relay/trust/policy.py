"""What the coordinator of a study allows: a part of the roster, and a YAML file for people to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from relay.config import Field, check, options, parse_file
from relay.errors import ConfigError

MAX_WHOLE = 2**53 - 1
"""Largest whole number that every JSON reader reads alike."""
Positive = Annotated[float, Field(gt=0, le=1e9)]
Kind = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
"""Of a memory: the name of what wrote it and can read it."""
USUAL = ("style", "ewc", "si", "owm", "fedavg")
"""Kinds of memories that travel unless the coordinator says otherwise: aggregates and weights, no generator."""


@options
class Gate:
    """When received weights are accepted, after they were verified. None for a limit: it is not checked.

    Attributes:
        on_failure: refuse them, or only warn.
        max_relative_change: per tensor, ‖w − w₀‖ / ‖w₀‖ against the last weights known; of a w₀ near zero see
            :func:`relay.exchange.measures.changes`.
        max_outlier: per tensor, the largest ``|w|`` over the median of all, and the root mean square over that of
            an untrained net (:mod:`relay.exchange.measures`).
        min_dice: least mean Dice, 0 to 1, on the local validation split.
    """

    on_failure: Literal["refuse", "warn"] = "refuse"
    max_relative_change: Positive | None = 10.0
    max_outlier: Positive | None = 1000.0
    min_dice: Annotated[float, Field(ge=0, le=1)] | None = None


@options
class Policy:
    """What may be handed over.

    Attributes:
        sealed: a bundle must be encrypted to its recipients.
        max_bundle_bytes: largest bundle, in bytes.
        memory: which kinds of memories may travel beside the model; ``any`` for all.
        max_epsilon: largest epsilon that a memory of aggregates, or a generator, may state of its release, and it must
            state one; null: none is asked for.
        sample_counts: whether a site tells how many samples it has exactly, or rounded.
        min_samples: fewest training samples a site must have.
        same_config: every site must use the same scientific config to the letter.
        expires_days: days for which a bundle is good.
        gate: when received weights are accepted.
    """

    sealed: bool = True
    max_bundle_bytes: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8 * 2**30
    memory: tuple[Kind, ...] | Literal["any"] = USUAL
    max_epsilon: Positive | None = None
    sample_counts: Literal["rounded", "exact"] = "rounded"
    min_samples: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8
    same_config: bool = False
    expires_days: Annotated[int, Field(ge=1, le=3650)] = 90
    gate: Gate = Gate()

    def allows(self, kind: str) -> bool:
        """Whether a memory of this kind may travel."""
        return self.memory == "any" or kind in self.memory

    @property
    def kinds(self) -> str:
        """The kinds that may travel, in words."""
        return self.memory if isinstance(self.memory, str) else ", ".join(self.memory) or "none"


def read_policy(path: Path) -> Policy:
    """A policy from a YAML file; what is not in it keeps its default.

    Raises:
        ConfigError: it can't be read, is not YAML, or has unknown keys or wrong values: all are listed.
    """
    content = parse_file(path)
    policy, problems = check(Policy, {} if content is None else content)
    if policy is None:
        raise ConfigError(problems, str(path))
    return policy
