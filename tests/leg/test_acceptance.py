"""The acceptance check of a leg: whatever training would refuse, or stumble over, is refused before it is taken in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from relay.config.devices import Devices
from relay.data.site import prepare
from relay.exchange import gate
from relay.exchange.store import StudyStore
from relay.handover import Handover, MemoryState, Privacy, compact
from relay.leg.acceptance import (
    check_answers,
    check_expert,
    check_expert_answers,
    check_handover,
    full_check,
    quick_check,
)
from relay.leg.paths import RunPaths
from relay.leg.sites import Sites
from relay.leg.transport import Transport
from relay.memory.appearance import Form
from relay.plan import Leg
from relay.trust.policy import Gate, Policy
from relay.trust.refusals import GateFailed, PolicyBreach
from tests.studies import study

CPU = torch.device("cpu")
ANY = Policy(memory="any")


def leg(strategy: str = "sequential", **kwargs: Any) -> Leg:
    return study(**{"common.strategy": {"name": strategy, "kwargs": kwargs}}).legs[1]


def net(of: Leg) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return of.net.build().state_dict()


LEGS = {"legs": [{"leg": 1, "site": "clinic_a", "strategy": "relay", "train_samples": 8}]}


def test_a_net_that_fits_is_accepted() -> None:
    here = leg()
    model, notes = check_handover(here, Handover(net(here)), ANY, {})
    assert notes == ["weights are finite; there are no earlier weights here to compare with"]
    site = prepare(here.pool[0], 1, splits=("train",))
    assert len(site.split.val) == 4
    assert check_answers(model.eval(), site, CPU) == "their outputs are finite for 4 images of this site"


@pytest.mark.parametrize("split", ["val", "train"])
def test_answers_that_are_not_finite(split: str) -> None:
    """Weights that are, each for itself: validation images are looked at, or training images where there are none."""
    here = leg()
    model = here.net.build()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(3e38)
    site = prepare(here.pool[0], 1, splits=("train",))
    if split == "train":
        site.split = dataclasses.replace(site.split, val=[])
    with pytest.raises(GateFailed, match="outputs for images of this site are not finite"):
        check_answers(model.eval(), site, CPU)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-42])
def test_a_dead_net_is_refused(value: float) -> None:
    """All its weights are finite, and none is too large; no step of training moves it."""
    here = leg()
    model = here.net.build()
    site = prepare(here.pool[0], 1, splits=("train",))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(value)
    with pytest.raises(GateFailed, match="output is the same everywhere, for every image of this site"):
        check_answers(model.eval(), site, CPU)


def test_random_numbers_stay_as_they_were() -> None:
    here = leg()
    handover = Handover(net(here))
    torch.manual_seed(5)
    check_handover(here, handover, ANY, {})
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def cumulative(kind: str, tensors: dict[str, Tensor], **about: Any) -> MemoryState:
    return MemoryState(tensors, kind, Privacy(derived="weights"), about)


def importances(model: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones_like(tensor) for name, tensor in model.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t, None),
        (lambda t: {**t, "more": torch.ones(1)}, "more: not in the net"),
        (lambda t: {k: v.double() for k, v in t.items()}, "torch.float64"),
        (lambda t: {k: -v for k, v in t.items()}, "negative importances"),
    ],
)
def test_a_cumulative_memory_is_read_as_its_strategy_will(change: Callable[[Any], Any], says: str | None) -> None:
    here = leg("ewc")
    model = net(here)
    handover = Handover(model, {}, cumulative("ewc", change(importances(model))), LEGS)
    if says is None:
        check_handover(here, handover, ANY, {})
        return
    with pytest.raises(GateFailed, match=says):
        check_handover(here, handover, ANY, {})


def test_the_start_of_a_fedavg_round_is_weighed_too() -> None:
    """It is what the leg will train from, not the average."""
    here = leg("fedavg")
    model = net(here)
    start = {name: tensor.clone() for name, tensor in model.items()}
    about = {"samples": 8, "sites": ["clinic_a"]}
    check_handover(here, Handover(model, {}, cumulative("fedavg", start, **about), LEGS), ANY, {})
    start["final_conv.weight"].view(-1)[0] = 1e9
    with pytest.raises(GateFailed, match=r"final_conv\.weight: its largest value is 1e\+09"):
        check_handover(here, Handover(model, {}, cumulative("fedavg", start, **about), LEGS), ANY, {})


def test_a_style_memory_has_no_more_directions_than_the_config_allows() -> None:
    here = leg("relay", owm_alpha=None, memory={"name": "style", "kwargs": {"directions": 2, "quantiles": 2}})
    form = Form(3, 3, 2, True)
    tensors = {"mean": torch.zeros(form.size), "described": torch.ones(form.size, dtype=torch.bool)}
    about = {"channels": 3, "quantiles": 2, "regions": 3, "area_to_perimeter": form.area_to_perimeter}
    for rows, fine in ((2, True), (3, False), (10**5, False)):
        found = {**tensors, "directions": torch.zeros(rows, form.size), "spread": torch.zeros(rows)}
        state = MemoryState(found, "style", Privacy(derived="aggregates"), about)
        handover = Handover(net(here), {1: state}, None, LEGS)
        if fine:
            check_handover(here, handover, ANY, {})
            continue
        with pytest.raises(GateFailed, match=f"memory of clinic_a has {rows} directions; this config allows 2"):
            check_handover(here, handover, ANY, {})


def test_a_kind_that_may_not_travel() -> None:
    here = leg("ewc")
    model = net(here)
    with pytest.raises(PolicyBreach, match="ewc may not travel"):
        check_handover(here, Handover(model, {}, cumulative("ewc", importances(model)), LEGS), Policy(memory=()), {})


def test_experts_are_loaded_too() -> None:
    here = leg()
    model = net(here)
    expert = compact(model)
    loaded, _ = check_handover(here, Handover(model, {}, None, LEGS, {1: expert}), ANY, {})
    assert all(torch.equal(loaded.state_dict()[name], model[name]) for name in model), "the model is what is returned"
    with pytest.raises(GateFailed, match="the expert of leg 1: more: not in the model"):
        check_handover(here, Handover(model, {}, None, LEGS, {1: {**expert, "more": torch.ones(1)}}), ANY, {})
    expert["final_conv.bias"] = torch.full_like(expert["final_conv.bias"], torch.inf)
    with pytest.raises(GateFailed, match=r"final_conv\.bias in the expert of leg 1 is not finite"):
        check_handover(here, Handover(model, {}, None, LEGS, {1: expert}), ANY, {})


def test_the_outputs_of_every_expert_are_looked_at() -> None:
    """Finite weights of the right form, of a net that is dead: the vote would use it without a word."""
    here = leg()
    model = net(here)
    dead = {name: torch.zeros_like(tensor) for name, tensor in model.items()}
    site = prepare(here.pool[0], 1, splits=("train",))
    check_expert_answers(here, Handover(model, {}, None, LEGS, {1: compact(model)}), site, CPU)
    with pytest.raises(GateFailed, match=r"the expert of leg 2: .* output is the same everywhere"):
        check_expert_answers(here, Handover(model, {}, None, LEGS, {1: compact(model), 2: compact(dead)}), site, CPU)
    with pytest.raises(GateFailed, match="the expert of leg 2: "):
        quick_check(here)(Handover(model, {}, None, LEGS, {2: compact(dead)}), Transport().own_store(here), ANY)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"experts": "none"}, "strategy 'sequential' hands on an expert; this study lets none travel"),
        ({"max_expert_bytes": 100}, "an expert of this net has .* bytes; the limit for one in this study is 100"),
    ],
)
def test_an_expert_that_may_not_travel_is_told_before_the_training(policy: dict[str, Any], says: str) -> None:
    here = leg()
    model = here.net.build()
    check_expert(here, model, Policy(**policy))
    here.strategy.carries_expert = True
    check_expert(here, model, Policy())
    with pytest.raises(PolicyBreach, match=says) as caught:
        check_expert(here, model, Policy(**policy))
    assert "ask the coordinator" in caught.value.advice()


def test_honest_weights_after_one_step_are_compared_sensibly() -> None:
    """Biases begin at zero: after a step they are next to nothing, after a leg a hundred thousand times that."""
    here = leg()
    first = net(here)
    bias = "final_conv.bias"
    last = {**copy.deepcopy(first), bias: torch.full_like(first[bias], 1e-6)}
    later = {**copy.deepcopy(first), bias: torch.full_like(first[bias], 0.3)}
    check_handover(here, Handover(later), Policy(gate=Gate()), last)
    later[bias] = torch.full_like(first[bias], 3.1)
    with pytest.raises(GateFailed, match=r"final_conv\.bias: changed by"):
        check_handover(here, Handover(later), Policy(gate=Gate()), last)
    assert (
        "warning: final_conv.bias" in gate.check_weights(Handover(later), Policy(gate=Gate(on_failure="warn")), last)[0]
    )


def test_the_images_of_all_sites_of_a_leg_are_looked_at(tmp_path: Path) -> None:
    here = study(**{"common.strategy.name": "joint"}).legs[0]
    store, handover = StudyStore(tmp_path, "none"), Handover(net(here))
    names = [dataset.options.task_name for dataset in here.pool]
    assert len(names) > 1
    sites = Sites(7, RunPaths(tmp_path / "run"))
    *_, said = full_check(here, sites, Devices("cpu"))(handover, store, ANY)
    assert said.endswith(f"on the {sum(len(sites(data).val) for data in here.pool)} validation images here")
    looked = quick_check(here)(handover, store, ANY)[1:]
    assert looked == ["their outputs are finite for 4 images of this site"] * len(names)
    last = sites(here.pool[-1])
    last.split = dataclasses.replace(last.split, val=[])
    assert len(full_check(here, sites, Devices("cpu"))(handover, store, ANY)) == 3
