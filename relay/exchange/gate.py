"""The acceptance check: do the weights of a verified bundle look sane?

A signature says who made the weights, not that they are good. The gate catches accidents and crude faults: values that
are not finite, single values or whole layers that are far too large, layers that moved much further than training
moves them. It does not catch a careful attack (docs/explanation/threat-model.md).

When a config is available, :mod:`relay.leg.acceptance` checks more before anything is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from relay import tensorfile
from relay.bundle import manifest
from relay.errors import UserError, plain, some
from relay.exchange.store import StudyStore
from relay.handover import Handover
from relay.tasks import Task
from relay.tensorfile import BadTensors
from relay.trust import MAX_MESSAGE, Gate, GateFailed, Policy

if TYPE_CHECKING:
    from torch import Tensor


def weigh(handover: Handover, store: StudyStore, policy: Policy) -> list[str]:
    """Check newly verified weights against the policy's gate; return the findings as lines for people.

    Raises:
        GateFailed: they fail a check, and the policy says to refuse.
    """
    notes = check_weights(handover, policy, last_known(store))
    check_experts(handover)
    return notes


def check_weights(
    handover: Handover, policy: Policy, last: Mapping[str, Tensor], fresh: Mapping[str, float] | None = None
) -> list[str]:
    """Like :func:`weigh`, without a store: a site also uses it to check its own work as the next site will.

    Args:
        last: the last known weights of the model; empty for none.
        fresh: RMS of each tensor of an untrained net (:func:`relay.exchange.measures.rms`); None if there is no
            config.

    Raises:
        GateFailed: values are not finite; or they fail another check, and the policy says to refuse.
    """
    from relay.exchange import measures

    memories = {f" in the memory of leg {leg}": state for leg, state in handover.memories.items()}
    memories |= {" in the cumulative memory": handover.cumulative} if handover.cumulative else {}
    odd = (found for where, state in memories.items() for found in measures.useless(state.tensors, where))
    never = [*measures.useless(handover.model), *odd]
    for leg, expert in handover.experts.items():
        never += measures.useless(expert, f" in the expert of leg {leg}")
    if never:
        raise GateFailed(f"the weights can't be used: {some(never, between='; ')}")
    gate = policy.gate
    found = []
    for where, weights in _models(handover).items():
        odd_sizes = measures.outliers(weights, gate.max_outlier)
        odd_sizes += measures.oversized(weights, gate.max_outlier, fresh)
        found += [f"{where}{text}" for text in odd_sizes]
    if last:
        found += measures.differences(handover.model, last)
        found += measures.changes(handover.model, last, gate.max_relative_change)
    if found and gate.on_failure == "refuse":
        raise GateFailed(f"the weights look wrong: {some(found, between='; ')}")
    compared = (
        "compared with the last weights known here" if last else "there are no earlier weights here to compare with"
    )
    return [*(plain(f"warning: {text}", most=MAX_MESSAGE) for text in found), f"weights are finite; {compared}"]


def check_experts(handover: Handover) -> None:
    """Check that every expert has the form of the model, and so can be loaded wherever the model can.

    Raises:
        GateFailed: one has not.
    """
    from relay.exchange import measures

    if odd := [
        f"the expert of leg {leg}: {text}"
        for leg, expert in handover.experts.items()
        for text in measures.unlike(expert, handover.model)
    ]:
        raise GateFailed(f"the weights can't be used: {some(odd, between='; ')}")


def _models(handover: Handover) -> dict[str, Mapping[str, Tensor]]:
    """The model and all experts, by what to say before a finding."""
    return {"": handover.model, **{f"the expert of leg {leg}: ": w for leg, w in handover.experts.items()}}


def check_score(score: float, gate: Gate, task: type[Task]) -> None:
    """Check the incoming model's score on the local validation images against the policy.

    Args:
        score: by the task's primary metric.

    Raises:
        GateFailed: it is worse than ``min_score``, and the policy says to refuse.
    """
    limit = gate.min_score
    if limit is not None and task.gain(score, limit) < 0 and gate.on_failure == "refuse":
        worse = "below" if task.primary.higher_is_better else "above"
        raise GateFailed(
            f"the incoming model scores {score:.3f} ({task.score_name}) on the local validation images, {worse} {limit}"
        )


def last_known(store: StudyStore) -> Mapping[str, Tensor]:
    """The model's weights from the newest leg that this site has signed; empty for none.

    Raises:
        UserError: they are damaged.
    """
    signed = store.record().signed
    path = store.signed(max(signed)) / manifest.MODEL if signed else None
    try:
        return tensorfile.load(path) if path and path.is_file() else {}
    except (OSError, BadTensors) as error:
        raise UserError(
            f"{path}, which this site has signed, can't be read: {error}",
            "Check the disk and restore the folder from a backup. Its bundle is sealed to the next site, not to this.",
        ) from error
