"""What arrives is scored on images that are not for testing; and what is best elsewhere follows from such scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relay.errors import HandoverError
from relay.handover import Handover, compact
from relay.leg import candidates as module
from relay.leg.candidates import candidates_in, few, preferred, routing, scores, zero_shot
from relay.leg.vote import Vote
from relay.tasks import Segmentation
from tests.leg.test_evaluate import CPU, Made, Oracle, blobs, site
from tests.leg.test_vote import Fixed
from tests.memory.test_router import looks, pictures, state
from tests.studies import study


def weights(seed: int, **changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(study(**changes).legs[0].net.build().state_dict())


def handover(experts: Mapping[int, Mapping[str, Tensor]]) -> Handover:
    legs = [{"leg": n, "site": name, "strategy": "x", "train_samples": 8} for n, name in enumerate("aba", 1)]
    return Handover(weights(0), facts={"legs": legs}, experts=experts)


def test_a_handover_offers_its_model_the_vote_and_the_newest_expert_of_the_site() -> None:
    leg = study().legs[0]
    whole = handover({n: compact(weights(n)) for n in (1, 2, 3)})
    found = candidates_in(leg, whole, "a")
    assert list(found) == ["generalist", "vote", "expert"]
    assert all(torch.equal(found["generalist"].state_dict()[name], tensor) for name, tensor in whole.model.items())
    newest = found["expert"].state_dict()
    assert all(torch.allclose(newest[name], tensor, atol=1e-3) for name, tensor in weights(3).items())
    vote = found["vote"]
    assert isinstance(vote, Vote)
    assert (vote.sites, vote.router) == (("a", "b"), None)  # nobody has released how its images look
    assert list(candidates_in(leg, whole, "c")) == ["generalist", "vote"]
    assert list(candidates_in(leg, handover({}), "a")) == ["generalist"]


def test_an_expert_of_another_net_is_refused() -> None:
    other = weights(1, **{"common.model.kwargs.features": [4, 4, 4, 4, 4]})
    with pytest.raises(HandoverError, match="don't match the net"):
        candidates_in(study().legs[0], handover({1: compact(other)}), "a")


def test_looks_of_images_with_other_channels_are_refused() -> None:
    grey = state(looks(pictures(80, 1, 8, (1, 6, 6))), channels=1)
    whole = dataclasses.replace(handover({1: compact(weights(1))}), memories={1: grey})
    with pytest.raises(HandoverError, match="images with 1 channels, this config's have 3"):
        candidates_in(study().legs[0], whole, "a")


def test_what_arrives_is_never_scored_on_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    here, seen = site(count=10), []
    read = Made.read
    monkeypatch.setattr(Made, "read", lambda self, sample: (seen.append(sample), read(self, sample))[1])
    vote = Vote(
        {"a": Oracle(), "b": Oracle()}, otherwise=nn.Identity(), task=Segmentation
    )  # which is no expert, and is not asked
    monkeypatch.setattr(module, "candidates_in", lambda *_: {"generalist": Oracle(), "vote": vote})
    rows = zero_shot(None, None, [here], CPU)  # type: ignore[arg-type]
    count = len(here.split.train) + len(here.split.val)
    assert rows == [{"model": name, "mean": 1.0, "images": count} for name in ("generalist", "vote")]
    monkeypatch.setattr(
        module,
        "candidates_in",
        lambda *_: {"generalist": Oracle(), "vote": Vote({"a": Oracle()}, task=Segmentation(2, ["a", "b"]))},
    )
    assert [row["model"] for row in zero_shot(None, None, [here], CPU)] == ["generalist"]  # type: ignore[arg-type]
    assert seen
    assert not {sample.id for sample in seen} & {sample.id for sample in here.split.test}


def test_of_many_images_some_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    here = site(count=30)
    inside = [*here.split.train, *here.split.val]
    assert [sample.id for sample in few(here).samples] == [sample.id for sample in inside[::4]]


def test_an_image_without_any_class_has_no_score() -> None:
    here = site(lambda n: blobs(n) if n else blobs(n) * 0)  # number 0 is all background
    found = dict(scores(Oracle(), here, [here.test], CPU))
    assert math.isnan(found.pop("p0"))
    assert found.keys() == {"p2", "p4"}
    assert set(found.values()) == {1.0}


def test_routing_counts_test_images_by_the_expert_they_look_most_like() -> None:
    here = site()
    rows = [[0.9, 0.1], [0.2, 0.8], [0.0, 0.0]]
    vote = Vote({"a": Oracle(), "b": Oracle()}, Fixed("ab", rows), task=Segmentation(2, ["a", "b"]))  # type: ignore[arg-type]
    assert routing(vote, here, CPU) == {"a": 1, "b": 1, "unlike": 1}
    assert routing(Vote({"a": Oracle()}, task=Segmentation(2, ["a", "b"])), here, CPU) == {}


def legs(*pairs: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    shots = [
        [{"model": "generalist", "mean": a, "images": 4}, {"model": "vote", "mean": b, "images": 4}] for a, b in pairs
    ]
    return [{"leg": 1}, *({"leg": n, "zero_shot": rows} for n, rows in enumerate(shots, 2))]


@pytest.mark.parametrize(
    ("pairs", "kind", "why"),
    [
        ([], "generalist", "no leg has compared"),
        (
            [(0.6, 0.7)],
            "vote",
            "on arrival at 1 site, before training there, the vote scored 0.700 and the generalist 0.600",
        ),
        ([(0.9, 0.7), (0.6, 0.7)], "generalist", "the vote scored 0.700 and the generalist 0.750"),
        ([(0.7, 0.7)], "generalist", "scored 0.700"),
        ([(0.9, None), (0.6, 0.7), (math.nan, 0.1)], "vote", "at 1 site,"),
    ],
)
def test_what_is_best_elsewhere_is_what_was_best_on_arrival(pairs: Any, kind: str, why: str) -> None:
    found, told = preferred(legs(*pairs), Segmentation)
    assert found == kind
    assert why in told


def test_a_leg_that_scored_one_model_only_tells_nothing() -> None:
    assert (
        preferred([{"leg": 2, "zero_shot": [{"model": "generalist", "mean": 0.5, "images": 3}]}], Segmentation)[0]
        == "generalist"
    )
