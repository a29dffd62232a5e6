"""Under a policy with ``max_training_epsilon``, a leg leaves only if its training has a guarantee within it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.bundle import manifest
from relay.leg.acceptance import check_guarantee
from relay.trust import PolicyBreach
from relay.trust.document import canonical
from relay.trust.policy import Policy
from tests.exchange.second_reader import Bad, read
from tests.relays import At, World
from tests.studies import study

PROMISE = {"delta": 1e-5, "unit": "patient", "accountant": "prv", "relation": "zero-out"}


def private(folder: Path, **promise: Any) -> Path:
    """A leg's handover that says what its training guarantees."""
    path = folder / manifest.DATA_CARD
    path.write_bytes(canonical({**json.loads(path.read_text()), "privacy": {**PROMISE, **promise}}))
    (folder / "digests.json").unlink(missing_ok=True)  # of the card as it was
    return folder


@pytest.fixture
def world(at: At) -> World:
    made = at(0)
    made.with_policy(install=["north", "south", "east"], max_training_epsilon=8.0)
    return made


@pytest.mark.parametrize(
    ("promise", "why"),
    [
        (None, "it was trained without a guarantee; the policy needs one, with an epsilon of at most 8"),
        ({"epsilon": 2.0, "private": False}, "it was trained without a guarantee"),
        ({"epsilon": 9.0, "private": True}, "its training has an epsilon of 9; the limit is 8"),
        ({"epsilon": 8.0, "private": True, "delta": 0.5}, "its training has a delta of 0.5; the limit is 0.001"),
    ],
)
def test_what_is_not_within_it_is_neither_sent_nor_taken_in(
    promise: dict[str, Any] | None, why: str, world: World
) -> None:
    folder = world.train(1)
    with pytest.raises(PolicyBreach, match=why):
        world.put(1, private(folder, **promise) if promise else folder)
    world.put(1, private(folder, epsilon=8.0, private=True))
    with world.forged(1, signer="north") as parts:
        said = {key: value for key, value in parts.json(manifest.DATA_CARD).items() if key != "privacy"}
        parts.put(manifest.DATA_CARD, {**said, **({"privacy": {**PROMISE, **promise}} if promise else {})})
    world.refuses(parts.bundle, "south", PolicyBreach, why)
    pinned, key = json.loads(canonical(world.coordinator.identity)), world.keys["south"].sealing
    with pytest.raises(Bad, match="no guarantee"):
        read(parts.bundle.read_bytes(), world.study, pinned, world.now, key)


def test_what_is_within_it_is_taken_in(world: World) -> None:
    world.deliver(world.put(1, private(world.train(1), epsilon=8.0, private=True)), "south")
    assert b"max_training_epsilon" not in canonical(Policy())


@pytest.mark.parametrize(
    ("privacy", "fits"),
    [
        (None, False),
        ({"epsilon": 9}, False),
        ({"epsilon": 8}, True),
        ({"epsilon": 8, "randomness": "seed"}, False),
        ({"epsilon": 8, "delta": 0.5}, False),
    ],
)
def test_a_config_that_could_not_be_sent_is_refused_before_training(privacy: Any, fits: bool) -> None:
    (leg, *_) = study(**{"common.train.privacy": privacy}).legs
    check_guarantee(leg, Policy())
    if fits:
        check_guarantee(leg, Policy(max_training_epsilon=8.0))
        return
    with pytest.raises(PolicyBreach, match=r"with an epsilon of at most 8") as refused:
        check_guarantee(leg, Policy(max_training_epsilon=8.0))
    assert "train.privacy: {epsilon: 8}" in refused.value.advice()
