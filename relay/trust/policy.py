"""What the coordinator of a study allows: part of the roster, written as a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from relay.config import Field, check, options, parse_file
from relay.errors import ConfigError

MAX_WHOLE = 2**53 - 1
"""Largest integer that every JSON reader reads in the same way."""
Positive = Annotated[float, Field(gt=0, le=1e9)]
Kind = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
"""Kind of a memory: the name of the class that wrote it and can read it."""
USUAL = ("style", "ewc", "si", "owm", "fedavg")
"""Kinds of memories that travel unless the coordinator says otherwise: aggregates and weights, no generator."""


@options
class Gate:
    """When to accept received weights after they are verified. A limit of None is not checked.

    Attributes:
        on_failure: refuse them, or only warn.
        max_relative_change: per tensor, ‖w − w₀‖ / ‖w₀‖ relative to the last known weights; for a w₀ near zero, see
            :func:`relay.exchange.measures.changes`.
        max_outlier: per tensor, the largest ``|w|`` relative to their median, and the root mean square relative to
            that of an untrained net; for small values, see :mod:`relay.exchange.measures`.
        min_score: worst score on the local validation split, by the primary metric of the task: of segmentation the
            lowest mean Dice, of regression the largest mean absolute error.
    """

    on_failure: Literal["refuse", "warn"] = "refuse"
    max_relative_change: Positive | None = 10.0
    max_outlier: Positive | None = 1000.0
    min_score: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None


@options
class Policy:
    """What may be handed over.

    Attributes:
        sealed: a bundle must be encrypted to its recipients.
        max_bundle_bytes: maximum size of a bundle, in bytes.
        memory: which kinds of memories may travel beside the model; ``any`` for all.
        max_epsilon: largest epsilon that a memory of aggregates, or a generator, may state for its release; it must
            state one. Null: no epsilon is required.
        experts: whether each site's own best model may travel beside the model: ``full``, or ``none``.
        max_expert_bytes: maximum size of one expert, in bytes.
        sample_counts: whether a site discloses its exact number of samples or a rounded one.
        min_samples: minimum number of training samples at a site.
        same_config: every site must use exactly the same scientific config.
        expires_days: how many days a bundle is valid.
        gate: when to accept received weights.
        approval: whether a person at the site must approve what leaves; who it was stays in the site's ledger.
        audit: whether a privacy audit (``relay audit``) must pass before a leg leaves (``require``), is disclosed if
            there is one (``report``), or stays at the site (``none``).
        audit_limit: how often an attacker may pick the patient who was trained on out of two, 0.5 being a coin.
        share: who may give the final model to a hospital outside the study (``relay share``): the sites, or nobody.
    """

    sealed: bool = True
    max_bundle_bytes: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8 * 2**30
    memory: tuple[Kind, ...] | Literal["any"] = USUAL
    max_epsilon: Positive | None = None
    experts: Literal["none", "full"] = "full"
    max_expert_bytes: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 2**30
    sample_counts: Literal["rounded", "exact"] = "rounded"
    min_samples: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8
    same_config: bool = False
    expires_days: Annotated[int, Field(ge=1, le=3650)] = 90
    gate: Gate = Gate()
    approval: Literal["optional", "required"] = "optional"
    audit: Literal["none", "report", "require"] = "none"
    audit_limit: Annotated[float, Field(ge=0.5, le=1)] = 0.6
    share: Literal["none", "sites"] = "none"

    def allows(self, kind: str) -> bool:
        """Whether a memory of this kind may travel."""
        return self.memory == "any" or kind in self.memory

    @property
    def kinds(self) -> str:
        """The kinds that may travel, as text."""
        return self.memory if isinstance(self.memory, str) else ", ".join(self.memory) or "none"


def read_policy(path: Path) -> Policy:
    """A policy from a YAML file; keys that are not in it keep their defaults.

    Raises:
        ConfigError: it can't be read, is not YAML, or has unknown keys or wrong values; the error lists them all.
    """
    content = parse_file(path)
    policy, problems = check(Policy, {} if content is None else content)
    if policy is None:
        raise ConfigError(problems, str(path))
    return policy
