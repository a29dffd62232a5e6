"""What the rules of a study's policy are called in a paper."""

from __future__ import annotations

from operator import attrgetter

from relay.papers.fact import shown
from relay.trust import Policy

RULES = {
    "sealed": "Bundles must be sealed to their recipients",
    "max_bundle_bytes": "Largest bundle, in bytes",
    "expires_days": "Days that a bundle is valid",
    "memory": "Memories that may travel beside the model",
    "max_epsilon": "Largest epsilon of a memory",
    "experts": "How much of each site's own model (expert) may travel",
    "sample_counts": "Counts that a site discloses",
    "min_samples": "Fewest training images of a leg",
    "same_config": "All sites must use the same settings",
    "gate.on_failure": "If a model that arrives fails the check",
    "gate.max_relative_change": "Largest relative change of a tensor",
    "gate.max_outlier": "Largest outlier among the weights",
    "gate.min_score": "Worst score on the receiver's validation images",
    "approval": "Approval by a person before a leg leaves",
    "audit": "Privacy audit before a leg leaves",
    "audit_limit": "Limit of the audit (AUC)",
    "max_training_epsilon": "Largest epsilon of a leg's training",
    "share": "Who may give the final model to a hospital outside the study",
}
NO_LIMIT = "no limit"
VALUES = {"share": {"sites": "each of the sites", "none": "none of the sites"}}
"""What values mean that don't say it themselves, by rule."""


def of_policy(policy: Policy, rule: str) -> str:
    """What a policy says of a rule."""
    value = attrgetter(rule)(policy)
    return in_words(rule, value) or shown(value, NO_LIMIT)


def in_words(rule: str, value: object) -> str:
    """What a value of a rule means; empty if it says so itself."""
    return VALUES.get(rule, {}).get(str(value), "")
