"""Relay and DER: what is replayed, how it is mixed into a batch, what it is held to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.der import DER, DEROptions
from relay.strategies.ewc import EWC, EWCOptions
from relay.strategies.relay import Relay, RelayOptions
from relay.strategies.replay import Replay, ReplayOptions
from torch import Tensor, nn
from torch.nn import functional as F

from relay.bundle.handover_files import load
from relay.config.decorator import options
from relay.errors import ConfigError
from relay.handover import Handover
from relay.memory.base import Memory
from relay.phase import Batch, Phase, Task, Training
from tests.studies import finished, simulate, study


class Shifted(Memory):
    """Draws this site's images, brightened by two, with label 0."""

    def draw(self, batch: Batch) -> Batch:
        """See the class."""
        self.asked = batch
        return Batch(batch.image + 2, torch.zeros_like(batch.label), batch.index)


def model(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 3, 1)


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits, label)


def batch(many: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(many, 3, 8, 8, generator=draw)
    return Batch(image, torch.randint(3, (many, 8, 8), generator=draw), torch.arange(many))


def images() -> Iterator[Batch]:
    yield batch()


def begun(strategy: Replay, memory: Memory | None = None, samples: int = 6) -> Any:
    """At its second leg, the model moved away from the incoming one."""
    strategy.remembered = memory or Shifted()
    strategy.setup(model(), criterion, Task("south", 3, 3, (-1.0, 1.0), (8, 8)))
    legs = [{"leg": 1, "site": "north", "train_samples": 30}]
    strategy.receive(Handover(model(2).state_dict(), facts={"legs": legs}))
    strategy.begin(Training(samples, ["p"] * 6, images, lambda: 0.5))
    with torch.no_grad():
        next(strategy.model.parameters()).mul_(1.5)
    return strategy


def relay(**options: Any) -> Any:
    return begun(Relay(RelayOptions(memory=None, owm_alpha=None, **({"replay_weight": 1.0} | options))))


def test_one_part_of_a_batch_is_replayed_and_the_other_learned() -> None:
    """Against a computation by hand; the targets are the incoming model's."""
    strategy, b = relay(replay=1 / 3), batch()
    terms = strategy.loss(b)
    assert len(strategy.remembered.asked.image) == 2
    drawn = b.image[:2] + 2
    student, teacher = strategy.model(drawn), model(2)(drawn)
    by_hand = (student - teacher).square().mean()
    assert list(terms) == ["task", "replay"]
    assert float(terms["task"].detach()) == pytest.approx(
        float(criterion(strategy.model(b.image[2:]), b.label[2:]).detach())
    )
    assert float(terms["replay"].detach()) == pytest.approx(float(by_hand), rel=1e-5)


def test_weights_of_the_terms() -> None:
    once, twice = (relay(replay_weight=weight, distil_weight=weight).loss(batch()) for weight in (1.0, 2.0))
    assert list(once) == ["task", "distil", "replay"]
    for name, factor in (("task", 1), ("distil", 2), ("replay", 2)):
        assert float(twice[name]) == pytest.approx(factor * float(once[name]), rel=1e-5)


@pytest.mark.parametrize(("samples", "weight", "own"), [(6, 1.0, 3), (30, 1.0, 3), (60, 0.5, 4), (300, 0.1, 5)])
def test_earlier_sites_with_fewer_images_than_this_one_count_less(samples: int, weight: float, own: int) -> None:
    """They have 30: their part of a batch, next to its own part, and the term's weight are in proportion."""
    strategy = begun(Relay(RelayOptions(memory=None, owm_alpha=None)), samples=samples)
    terms = strategy.loss(batch())
    drawn = strategy.remembered.asked.image + 2
    assert len(drawn) == 6 - own
    by_hand = weight * (strategy.model(drawn) - model(2)(drawn)).square().mean()
    assert float(terms["replay"].detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert begun(Relay(RelayOptions(memory=None, owm_alpha=None, by_size=False)), samples=samples).earlier == 1


def test_der_matches_logits_and_der_plus_plus_labels() -> None:
    b = batch()
    plain = begun(DER(DEROptions(memory=None, alpha=0.3, beta=0.0)))
    found = plain.loss(b)["replay"]
    drawn = b.image[:3] + 2
    by_hand = 0.3 * (plain.model(drawn) - model(2)(drawn)).square().mean()
    assert float(found) == pytest.approx(float(by_hand), rel=1e-5)
    both = begun(DER(DEROptions(memory=None, alpha=0.3, beta=0.7))).loss(b)["replay"]
    labels = criterion(plain.model(drawn), torch.zeros_like(b.label[:3]))
    assert float(both) == pytest.approx(float(by_hand + 0.7 * labels), rel=1e-5)


@pytest.mark.parametrize(("size", "replay", "own"), [(1, 0.5, 1), (2, 0.9, 1), (3, 0.9, 1), (4, 0.1, 3), (3, 0.5, 1)])
def test_small_batches_learn_and_replay_something(size: int, replay: float, own: int) -> None:
    strategy = relay(replay=replay)
    shapes = []
    strategy.terms = lambda logits, batch: shapes.append((len(logits), len(batch.image))) or {}
    strategy.loss(batch(size))
    assert shapes == [(own, own)]
    assert len(strategy.remembered.asked.image) == max(1, size - own)


def test_kinds_of_a_combination_are_those_of_both() -> None:
    class ReplayEWC(EWC, Replay):
        """See docs/explanation/strategies.md."""

    @options
    class Both(EWCOptions, ReplayOptions):
        """See there."""

    assert ReplayEWC(Both()).kinds == ("ewc", "style")
    assert Relay(RelayOptions()).kinds == ("style", "owm")
    assert Relay(RelayOptions(owm_alpha=None)).kinds == ("style",)


def test_without_anything_remembered_a_leg_is_that_of_lwf() -> None:
    strategy = begun(Relay(RelayOptions(memory=None, owm_alpha=None, distil_weight=1.0)), Memory())
    assert list(strategy.loss(batch())) == ["task", "distil"]


def test_the_model_is_held_and_its_teacher_stays_as_it_is() -> None:
    strategy = relay()
    before = copy.deepcopy(strategy.teacher.state_dict())
    optimizer = torch.optim.SGD(strategy.model.parameters(), lr=0.05)
    found = []
    for _ in range(60):
        terms = strategy.loss(batch())
        found.append(float(terms["replay"].detach()))
        optimizer.zero_grad()
        terms["replay"].backward()
        optimizer.step()
    assert found[-1] < found[0] / 5
    assert all(torch.equal(before[name], tensor) for name, tensor in strategy.teacher.state_dict().items())


def test_phases_that_renew_the_memory_come_after_the_models() -> None:
    class Renewed(Memory):
        def phases(self) -> list[Phase]:
            return [Phase("renew", nn.Linear(1, 1), lambda _: {}, share=0.5)]

    strategy = begun(Relay(RelayOptions(memory=None, owm_alpha=None)), Renewed())
    assert [phase.name for phase in strategy.phases()] == ["learn", "renew", "expert"]


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ({"name": "stile"}, "style"),
        ({"name": "style", "kwargs": {"quantiles": 1}}, "quantiles"),
        ({"name": "style", "kwargs": {"quantile": 9}}, "quantile"),
    ],
)
def test_a_memory_is_checked_with_the_config(memory: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study(**{"common.strategy": {"name": "relay", "kwargs": {"memory": memory}}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("relay")
    return finished(root, **{"common.strategy.name": "relay"})


def test_relay_has_room_for_one_cumulative_memory() -> None:
    flow = {"name": "relay", "kwargs": {"memory": {"name": "flow"}}}
    with pytest.raises(ConfigError, match=r"one cumulative memory.*owm_alpha: null"):
        study(**{"common.strategy": flow})
    study(**{"common.strategy": {**flow, "kwargs": {**flow["kwargs"], "owm_alpha": None}}})


def test_relay_moves_the_weights_little_where_earlier_inputs_are(run: Path, tmp_path: Path) -> None:
    """Against the same leg without projection: along the directions held by the first leg, and everywhere."""
    simulate(tmp_path, **{"common.strategy": {"name": "relay", "kwargs": {"owm_alpha": None}}})
    held = load(run / "checkpoints/task_1/handover").cumulative.tensors  # type: ignore[union-attr]
    along = {}
    for root in (run, tmp_path):
        one, two = (load(root / f"checkpoints/task_{leg}/handover").model for leg in (1, 2))
        moved = {name: two[name] - one[name] for name in held}
        usual = [
            d.flatten(1) if d.shape[1] * d[0, 0].numel() == len(held[n]) else d.flatten(1).T for n, d in moved.items()
        ]
        along[root] = sum(float((d @ h).norm() / d.norm()) for d, h in zip(usual, held.values(), strict=True))
        assert any(not torch.equal(one[name], two[name]) for name in one.keys() - held.keys())  # replay holds these
    assert along[run] < 0.7 * along[tmp_path]


def test_a_relay_of_two_sites_hands_on_both_memories(run: Path) -> None:
    legs = [{"leg": n, "site": f"clinic_{name}", "train_samples": 8} for n, name in enumerate("ab", 1)]
    (bundle,) = (run / "handoff").glob("*/clinic_b/studies/*/signed/*")
    handover = load(bundle, legs)
    assert list(handover.memories) == [1, 2]
    assert all(state.kind == "style" and state.size < 16 * 1024 for state in handover.memories.values())
    assert list(handover.others("clinic_b")) == ["clinic_a"]


def test_replaying_changes_what_is_learned(run: Path, tmp_path: Path) -> None:
    simulate(tmp_path, **{"common.strategy": {"name": "relay", "kwargs": {"memory": None}}})
    with_memory, without = (load(root / "checkpoints/task_2/handover").model for root in (run, tmp_path))
    assert any(not torch.equal(with_memory[name], without[name]) for name in without)
