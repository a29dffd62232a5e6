"""Maps of nets whose reasons are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relay.errors import UserError
from relay.explain.methods import METHODS, attributions, methods_of
from relay.explain.sanity import likeness, randomised
from relay.explain.scoring import Scores, check_layer, deepest_layer

PLACE = (slice(10, 16), slice(4, 12))


class Looks(nn.Module):
    """Output 1 is the brightness of one place; output 0, of another one."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.conv = kind(1, 1, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        where = torch.zeros(2, *(24,) * axes)
        where[1][(..., *PLACE)] = 1
        where[0][(..., slice(18, 22), slice(18, 22))] = 1
        self.register_buffer("where", where)
        nn.init.ones_(self.conv.weight)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = (self.act(self.conv(image)) * self.where).flatten(2).mean(2)
        return found


def planted(axes: int) -> tuple[Scores, Tensor]:
    torch.manual_seed(0)
    return Scores(Looks(axes)), torch.rand(1, 1, *(24,) * axes) * 0.5 + 0.5


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", [name for name in METHODS if not name.startswith("grad_cam")])
def test_the_heat_lies_where_the_answer_comes_from(method: str, axes: int) -> None:
    scores, image = planted(axes)
    heat = METHODS[method](scores, image, 1, deepest_layer(scores, image))
    assert heat.shape == image.shape[2:]
    inside = torch.zeros_like(heat, dtype=torch.bool)
    inside[(..., *PLACE)] = True
    assert heat[inside].mean() > 5 * heat[~inside].mean()
    assert (heat >= 0).all()


@pytest.mark.parametrize("outputs", [2, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_square_that_alone_can_be_used(method: str, axes: int, outputs: int) -> None:
    """All else in the image is too dark to pass the net's first layer."""
    kind, pool = {2: (nn.Conv2d, nn.AdaptiveAvgPool2d), 3: (nn.Conv3d, nn.AdaptiveAvgPool3d)}[axes]
    head = nn.Linear(2, outputs)
    net = nn.Sequential(kind(1, 2, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), head)
    nn.init.constant_(net[0].weight, 1 / 3**axes)
    nn.init.constant_(net[0].bias, -0.5)
    nn.init.constant_(head.weight, 1.0)
    with torch.no_grad():
        head.weight[: outputs - 1] = -1.0  # of two classes, the last one is "there is a square"
    image = torch.rand(1, 1, *(16,) * axes, generator=torch.Generator().manual_seed(0)) * 0.3
    square = (..., *(slice(6, 11),) * axes)
    image[square] = 1.0
    scores = Scores(net)
    heat = METHODS[method](scores, image, outputs - 1, deepest_layer(scores, image))
    inside = torch.zeros_like(heat, dtype=torch.bool)
    inside[square] = True
    assert heat[inside].mean() > 5 * heat[~inside].mean()
    assert inside.flatten()[heat.flatten().argmax()]


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam++"])
def test_class_activation_maps_follow_the_layer(method: str) -> None:
    """Where a channel is active, and only the class whose score it raises."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)  # one channel for bright, one for dark
    image = torch.full((1, 1, 8, 8), -1.0)
    image[..., :4] = 1.0
    heat = METHODS[method](Scores(net), image, 0, "net.0")
    assert heat[:, :4].min() > 0
    assert heat[:, 4:].max() == 0


def test_integrated_gradients_add_up() -> None:
    """To the difference of the scores of the image and of the dark one: Sundararajan et al.'s completeness."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.LazyLinear(3))
    image = torch.randn(1, 2, 6, 6)
    scores = Scores(net)
    dark = torch.full_like(image, float(image.min()))
    found = attributions(scores, image, 2, steps=200).sum()
    assert found.item() == pytest.approx((scores(image) - scores(dark))[0, 2].item(), rel=1e-3)


def test_an_untrained_net_explains_otherwise() -> None:
    scores, _ = planted(2)
    again = [randomised(scores.net) for _ in range(2)]
    assert torch.equal(again[0].conv.weight, again[1].conv.weight)
    assert not torch.equal(again[0].conv.weight, scores.net.conv.weight)
    assert torch.equal(scores.net.conv.weight, torch.ones(1, 1, 1, 1))


def test_likeness() -> None:
    heat = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    assert likeness(heat, 2 * heat) == pytest.approx(1)
    assert likeness(heat, -heat) == pytest.approx(-1)
    assert likeness(heat, np.zeros_like(heat)) is None


def test_a_net_without_what_a_method_needs() -> None:
    scores = Scores(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    image = torch.rand(1, 1, 4, 4)
    with pytest.raises(UserError, match="no convolution"):
        deepest_layer(scores, image)
    with pytest.raises(UserError, match="no ReLU"):
        METHODS["guided_backpropagation"](scores, image, 0, None)
    with pytest.raises(UserError, match="--layer body: the net has no convolution of this name"):
        check_layer(scores, "body")


@pytest.mark.parametrize(
    ("text", "message"),
    [("gradcam", "there is no method 'gradcam'"), ("", "no method ''"), ("occlusion,occlusion", "twice")],
)
def test_methods_that_are_not_there(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        methods_of(text)


def test_names_of_methods() -> None:
    assert methods_of("all") == list(METHODS)
    assert methods_of("occlusion, grad_cam") == ["occlusion", "grad_cam"]
