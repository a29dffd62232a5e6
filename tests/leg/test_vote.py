"""The vote: what a plain loop over images and experts would give; and who is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relay.leg.inference import predict
from relay.leg.vote import LEAST, Vote
from relay.tasks import Segmentation


class Fixed:
    """A router whose answer for an image is known: one row of weights each; a row of zeros is unlike all sites."""

    def __init__(self, sites: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
        self.sites, self.rows = tuple(sites), torch.tensor(rows)

    def weights(self, image: Tensor) -> Tensor:
        return self.rows[: len(image)]

    def strange(self, image: Tensor) -> Tensor:
        return self.weights(image).sum(1) == 0


def nets(count: int, axes: int = 2) -> dict[str, nn.Module]:
    torch.manual_seed(3)
    kind: Any = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    return {"abcdefgh"[n]: kind(1, 3, 3, padding=1) for n in range(count)}


@pytest.mark.parametrize(("axes", "patch"), [(2, None), (3, None), (2, [6, 6])])
def test_it_is_the_mixture_of_probabilities(axes: int, patch: list[int] | None) -> None:
    experts, rows = nets(3, axes), [[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5], [0.0, 0.0, 0.0]]
    image = torch.randn(4, 1, *[9] * axes)
    with torch.no_grad():
        found = predict(Vote(experts, Fixed("abc", rows), task=Segmentation(2, ["a", "b"])), image, patch).softmax(1)  # type: ignore[arg-type]
        for number, row in enumerate(rows):
            weights = row if any(row) else [1 / 3] * 3
            each = [predict(net, image[number : number + 1], patch).softmax(1)[0] for net in experts.values()]
            wanted = sum(weight * one for weight, one in zip(weights, each, strict=True))
            assert torch.allclose(found[number], wanted, atol=1e-6)


def test_without_a_router_all_are_equal() -> None:
    vote = Vote(nets(2), task=Segmentation(2, ["a", "b"]))
    assert torch.equal(vote.weights(torch.zeros(3, 1, 4, 4)), torch.full((3, 2), 0.5))


def test_experts_and_sites_need_not_be_the_same() -> None:
    """The router knows a, whose expert was withdrawn; and not c, which has released nothing."""
    experts = {name: net for name, net in nets(3).items() if name != "a"}
    vote = Vote(experts, Fixed("ab", [[0.6, 0.4], [1.0, 0.0], [0.0, 0.0]]), task=Segmentation(2, ["a", "b"]))  # type: ignore[arg-type]
    weights = vote.weights(torch.zeros(3, 1, 4, 4))
    assert torch.allclose(weights, torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]))


def test_an_image_unlike_all_sites_may_go_to_another_net() -> None:
    *_, other = nets(3).values()
    vote = Vote(nets(2), Fixed("ab", [[0.6, 0.4], [0.0, 0.0]]), other, task=Segmentation(2, ["a", "b"]))  # type: ignore[arg-type]
    image = torch.randn(2, 1, 5, 5)
    assert torch.allclose(vote.weights(image), torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.0, 1.0]]))
    with torch.no_grad():
        assert torch.allclose(predict(vote, image)[1:].softmax(1), other(image[1:]).softmax(1), atol=1e-6)


def test_an_expert_with_hardly_any_weight_is_not_asked() -> None:
    asked = []
    vote = Vote(nets(3), Fixed("abc", [[1 - LEAST, LEAST / 2, LEAST / 2]]), task=Segmentation(2, ["a", "b"]))  # type: ignore[arg-type]

    def apply(net: nn.Module, image: Tensor) -> Tensor:
        asked.append(net)
        return net(image)  # type: ignore[no-any-return]

    vote.mixed(torch.zeros(1, 1, 4, 4), apply)
    assert asked == [vote.nets[0]]


def test_so_many_experts_that_each_has_hardly_any_weight_all_vote() -> None:
    experts = {f"site {n}": nn.Conv2d(1, 2, 1) for n in range(150)}
    found = predict(Vote(experts, task=Segmentation(2, ["a", "b"])), torch.randn(1, 1, 2, 2))
    assert torch.allclose(found.softmax(1).sum(1), torch.ones(1, 2, 2))


def test_images_unlike_all_sites_go_to_the_net_for_them() -> None:
    experts, image = nets(3), torch.randn(2, 1, 9, 9)
    other = experts.pop("c")
    vote = Vote(experts, Fixed("ab", [[0.75, 0.25], [0.0, 0.0]]), other, task=Segmentation(2, ["a", "b"]))  # type: ignore[arg-type]
    assert vote.weights(image).tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    assert Vote(experts, None, other, task=Segmentation(2, ["a", "b"])).weights(image).tolist() == [[0.0, 0.0, 1.0]] * 2
    with torch.no_grad():
        assert torch.allclose(predict(vote, image)[1].softmax(0), other(image)[1].softmax(0), atol=1e-6)
