"""What the coordinator of a study allows: a part of the roster, and a YAML file for people to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from relay.config.check import check
from relay.config.options import Field, options
from relay.errors import ConfigError, Problem

MAX_WHOLE = 2**53 - 1
"""Largest whole number that every JSON reader reads alike."""
Positive = Annotated[float, Field(gt=0, le=1e9)]


@options
class Gate:
    """When received weights are accepted, after they were verified. None for a limit: it is not checked.

    Attributes:
        on_failure: refuse them, or only warn.
        max_relative_change: per layer, ‖w − w₀‖ / ‖w₀‖ against the last weights known.
        max_outlier: per layer, the largest |w| over the layer's root mean square.
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
        memory: whether a memory may travel beside the solver.
        sample_counts: whether a site tells how many samples it has exactly, or rounded.
        min_samples: fewest training samples a site must have.
        same_config: every site must use the same scientific config to the letter.
        expires_days: days for which a bundle is good.
        gate: when received weights are accepted.
    """

    sealed: bool = True
    max_bundle_bytes: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8 * 2**30
    memory: bool = True
    sample_counts: Literal["rounded", "exact"] = "rounded"
    min_samples: Annotated[int, Field(ge=1, le=MAX_WHOLE)] = 8
    same_config: bool = False
    expires_days: Annotated[int, Field(ge=1, le=3650)] = 90
    gate: Gate = Gate()


def read_policy(path: Path) -> Policy:
    """A policy from a YAML file; what is not in it keeps its default.

    Raises:
        ConfigError: it can't be read, is not YAML, or has unknown keys or wrong values: all are listed.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = Problem(str(path), " ".join(str(error).split()), "must be a YAML file")
        raise ConfigError([problem], str(path)) from error
    policy, problems = check(Policy, {} if content is None else content)
    if policy is None:
        raise ConfigError(problems, str(path))
    return policy
