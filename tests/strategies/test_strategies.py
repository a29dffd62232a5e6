"""What each strategy takes from the previous site, minimises and hands on."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given, strategies as st
from relay.strategies.base import Strategy
from torch import Tensor, nn

from relay.bundle.handover_files import load, read_facts
from relay.errors import UserError
from relay.handover import Handover
from relay.phase import Batch, Task, Training
from relay.registry import find
from tests.studies import simulate, study


def model(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, label)


def handover(seed: int = 2, samples: int = 30) -> Handover:
    legs = [{"leg": 1, "site": "north", "train_samples": samples}]
    return Handover(model(seed).state_dict(), facts={"legs": legs})


def training(samples: int = 10, read: list[bool] | None = None) -> Training:
    """One batch of two images; ``read`` gets a mark whenever they are looked at."""

    def batches() -> Iterator[Batch]:
        (read if read is not None else []).append(True)
        yield batch()

    return Training(samples, ["p0", "p1"], batches, lambda: 0.5)


def begun(name: str, incoming: Handover | None = None, /, **options: Any) -> Strategy:
    """A strategy that has its model and has received."""
    cls = find("strategies", name)
    strategy: Strategy = cls(cls.Options(**options))
    strategy.setup(model(), criterion, Task("south", 3, 3, (-1.0, 1.0), (8, 8)))
    strategy.receive(incoming)
    strategy.begin(training())
    return strategy


def batch(seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, 8, 8, generator=draw)
    return Batch(image, torch.randint(3, (2, 8, 8), generator=draw), torch.arange(2))


def learn(strategy: Strategy, steps: int = 5) -> None:
    """The phases as a leg fits them: modules in training mode, a step a batch."""
    for phase in strategy.phases():
        phase.module.train()
        optimizer = torch.optim.SGD(phase.module.parameters(), lr=0.5)
        for step in range(steps):
            optimizer.zero_grad()
            torch.stack(list(phase.loss(batch(step)).values())).sum().backward()
            optimizer.step()


def unread() -> NoReturn:
    raise AssertionError("an image was read")


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# -- local, sequential, joint ------------------------------------------------------------------------------


def test_local_starts_every_leg_from_the_same_fresh_model(tmp_path: Path) -> None:
    """The legs are what each site gets alone: the first leg's handover is not even there for the second."""
    both = simulate(tmp_path / "both", **{"common.strategy.name": "local"})
    assert [leg.start for leg in both.study.legs] == [None, None]
    alone = {"common.strategy.name": "local", "current_tasks.task_ids": [2]}
    simulate(tmp_path / "alone", **alone)
    folders = [tmp_path / run / "checkpoints/task_2/handover" for run in ("both", "alone")]
    assert same(*(load(folder).model for folder in folders))
    assert read_facts(folders[0]).site == "clinic_b"


def test_sequential_starts_from_the_incoming_weights() -> None:
    came = handover()
    strategy = begun("sequential", came)
    assert same(strategy.model.state_dict(), came.model)
    learn(strategy)
    assert not same(strategy.model.state_dict(), came.model)
    assert same(came.model, handover().model)


@pytest.mark.parametrize("name", ["local", "sequential", "joint", "relay", "lwf", "merge", "der"])
def test_without_a_handover_a_leg_is_plain_training(name: str) -> None:
    strategy = begun(name, None, **({"owm_alpha": None, "experts": False} if name == "relay" else {}))
    (phase,) = strategy.phases()
    assert (phase.module, phase.share, phase.frozen) == (strategy.model, 1.0, ())
    terms = phase.loss(batch())
    assert list(terms) == ["task"]
    assert torch.equal(terms["task"], criterion(strategy.model(batch().image), batch().label))
    learn(strategy)
    learned = copied(strategy.model.state_dict())
    strategy.finish(dataclasses.replace(training(), batches=unread))
    assert same(strategy.model.state_dict(), learned)
    assert strategy.memory() is strategy.cumulative() is None


def test_the_first_leg_of_relay_gives_the_weights_of_sequential(tmp_path: Path) -> None:
    for name in ("relay", "sequential"):
        simulate(tmp_path / name, **{"common.strategy.name": name, "current_tasks.task_ids": [1]})
    folders = [tmp_path / name / "checkpoints/task_1/handover" for name in ("relay", "sequential")]
    assert same(*(load(folder).model for folder in folders))


@pytest.mark.parametrize(("chosen", "pooled"), [(None, [1, 2]), ([2], [2]), ([1, 2], [1, 2])])
def test_joint_pools_the_chosen_sites(chosen: list[int] | None, pooled: list[int]) -> None:
    (leg,) = study(**{"common.strategy": {"name": "joint", "kwargs": {"task_ids": chosen}}}).legs
    assert [dataset.options.task_id for dataset in leg.pool] == pooled


def test_joint_pools_only_what_is_on_this_machine(tmp_path: Path) -> None:
    away = {"name": "folder", "kwargs": {"num_classes": 3, "root_path": str(tmp_path / "not_here")}}
    cls = find("datasets", "folder")
    there = cls(cls.Options(task_id=3, task_name="away", **away["kwargs"]))
    here = study().datasets
    assert begun("joint").pool({**here, 3: there}) == list(here.values())


def test_joint_refuses_a_site_whose_data_is_not_here() -> None:
    here = study().datasets
    with pytest.raises(UserError, match="no data on this machine for task 3, 4") as caught:
        begun("joint", task_ids=[4, 1, 3]).pool(here)
    assert "Available: 1, 2" in caught.value.advice()
    with pytest.raises(UserError, match="any site"):
        begun("joint").pool({})


def test_joint_learns_from_all_of_them(tmp_path: Path) -> None:
    simulate(tmp_path, **{"common.strategy.name": "joint"})
    own = read_facts(tmp_path / "checkpoints/task_1/handover")
    alone = simulate(tmp_path / "alone", **{"common.strategy.name": "local"})
    counts = [len(alone.sites(d, train=True).split.train) for d in alone.study.datasets.values()]
    assert own.samples == sum(counts)
    assert own.site == "all"


# -- lwf, merge -------------------------------------------------------------------------------------------------


def test_the_teacher_is_the_incoming_model_and_stays_frozen() -> None:
    came = handover()
    strategy: Any = begun("lwf", came)
    assert strategy.teacher is not strategy.model
    assert strategy.phases()[0].frozen == (strategy.teacher,)
    assert same(strategy.model.state_dict(), came.model)
    learn(strategy)
    assert same(strategy.teacher.state_dict(), came.model)
    assert not any(module.training for module in strategy.teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in strategy.teacher.parameters())
    assert all(p.grad is not None for p in strategy.model.parameters())
    assert not same(strategy.model.state_dict(), came.model)


def test_in_a_leg_the_teacher_is_what_the_first_leg_sent_to_the_last(tmp_path: Path) -> None:
    run = simulate(tmp_path, **{"common.strategy.name": "relay", "common.model.kwargs.norm": "batch"})
    teacher = run.study.legs[1].strategy.teacher
    assert same(teacher.cpu().state_dict(), load(tmp_path / "checkpoints/task_1/handover").model)
    assert not any(module.training for module in teacher.modules())
    assert run.study.legs[0].strategy.teacher is None


def distil(strategy: Strategy) -> float:
    return float(strategy.loss(batch())["distil"].detach())


def test_distillation_is_zero_at_the_teacher_and_grows_away_from_it() -> None:
    strategy = begun("lwf", handover())
    strategy.model.eval()
    found = [distil(strategy)]
    for _ in range(3):
        with torch.no_grad():
            next(strategy.model.parameters()).add_(0.5)
        found.append(distil(strategy))
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] > 1e-3
    assert found == sorted(found)


def moved(**options: Any) -> Strategy:
    """One whose model is not at its teacher any more."""
    strategy = begun("lwf", handover(), **options)
    strategy.model.eval()
    with torch.no_grad():
        next(strategy.model.parameters()).add_(1)
    return strategy


def test_its_weight_is_a_factor_and_zero_turns_it_off() -> None:
    assert distil(moved(distil_weight=3.0)) == pytest.approx(3 * distil(moved()))
    assert list(moved(distil_weight=0.0).loss(batch())) == ["task"]


def test_confidence_leaves_out_voxels_where_the_teacher_is_unsure() -> None:
    strategy: Any = moved()
    sure = strategy.teacher(batch().image).softmax(1).amax(1)
    middle = float(sure.median())
    assert distil(moved(confidence=1.0)) == 0
    assert distil(moved(confidence=middle)) not in (0, pytest.approx(distil(strategy)))
    assert distil(moved(confidence=float(sure.min()) * 0.99)) == pytest.approx(distil(strategy))


def averaged(strategy: Strategy, samples: int) -> tuple[dict[str, Tensor], dict[str, Tensor], list[bool]]:
    """The learned and the merged weights, and a mark for each image that was read."""
    learn(strategy)
    learned = copied(strategy.model.state_dict())
    read: list[bool] = []
    strategy.finish(training(samples, read))
    return learned, copied(strategy.model.state_dict()), read


TRAINED = [name for name, _ in model().named_parameters()]


@given(st.integers(1, 500), st.integers(1, 500))
def test_merged_by_samples_is_the_average_by_hand(seen: int, samples: int) -> None:
    came = handover(samples=seen)
    learned, merged, _ = averaged(begun("merge", came), samples)
    for name in TRAINED:
        by_hand = (seen * came.model[name].double() + samples * learned[name].double()) / (seen + samples)
        assert torch.allclose(merged[name].double(), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_merged_by_a_number(weight: float) -> None:
    came = handover()
    learned, merged, read = averaged(begun("merge", came, merge=weight), 10)
    for name in TRAINED:
        by_hand = weight * came.model[name] + (1 - weight) * learned[name]
        assert torch.allclose(merged[name], by_hand, rtol=1e-5, atol=1e-6)
    assert read
    behind = nn.functional.conv2d(batch().image, merged["0.weight"], merged["0.bias"])
    assert torch.allclose(merged["1.running_mean"], behind.mean((0, 2, 3)), atol=1e-5)


def test_merge_of_nothing_changes_nothing_and_reads_no_image() -> None:
    learned, merged, read = averaged(begun("merge", handover(), merge=0.0), 10)
    assert same(learned, merged)
    assert not read


def test_samples_seen_are_those_of_all_legs_before() -> None:
    came = handover()
    legs = [{"leg": n, "site": "north", "train_samples": 20 * n} for n in (1, 2)]
    several = Handover(came.model, facts={"legs": legs})
    learned, merged, _ = averaged(begun("merge", several), 20)
    by_hand = 0.75 * came.model["0.weight"] + 0.25 * learned["0.weight"]
    assert torch.allclose(merged["0.weight"], by_hand, rtol=1e-5, atol=1e-6)


# -- strategies of one's own -------------------------------------------------------------------------------

OWN = '''
from pytorch_lightning import Callback

from relay.config.decorator import options
from relay.strategies.base import Phase, Strategy


class Count(Callback):
    steps = 0

    def on_train_batch_end(self, *_):
        self.steps += 1


class Mine(Strategy):
    """Learns in two phases and counts their steps; remembers how many images it saw, here and in all."""

    @options
    class Options:
        half: float = 0.5

    def phases(self):
        self.counts = [Count(), Count()]
        return [
            Phase(name, self.model, self.loss, share=self.options.half, callbacks=(count,))
            for name, count in zip(("first", "second"), self.counts)
        ]

    def finish(self, training):
        self.seen = sum(len(batch.image) for batch in training.batches())

    def memory(self):
        return self.part(self.seen)

    def cumulative(self):
        before = int(self.incoming.cumulative.tensors["seen"]) if self.incoming else 0
        return self.part(before + self.seen)

    def part(self, seen):
        import torch

        from relay.handover import MemoryState, Privacy

        return MemoryState({"seen": torch.tensor(seen)}, "style", Privacy(derived="aggregates", patients=8))
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a strategy in a file in the current folder."""
    (tmp_path / "strategy_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "strategy_of_mine:Mine"
    sys.modules.pop("strategy_of_mine", None)


def test_a_strategy_of_ones_own_runs_legs_with_its_callbacks(own: str, tmp_path: Path) -> None:
    run = simulate(tmp_path / "run", **{"common.strategy": {"name": own, "kwargs": {"half": 0.5}}})
    split = [len(run.sites(leg.pool[0]).split.train) for leg in run.study.legs]
    for leg in run.study.legs:
        per_epoch = split[leg.number - 1] * 2 // 8
        assert [count.steps for count in leg.strategy.counts] == [per_epoch, per_epoch]
    incoming = run.study.legs[1].strategy.incoming
    assert int(incoming.memories[1].tensors["seen"]) == split[0]
    sent = load(tmp_path / "run/checkpoints/task_2/handover", [{"leg": 2, "site": "clinic_b"}])
    assert int(sent.memories[2].tensors["seen"]) == split[1]
    assert int(sent.cumulative.tensors["seen"]) == sum(split)


NAMES = ["base", "local", "sequential", "joint", "relay", "lwf", "merge", "der", "replay", "ewc", "si", "owm", "fedavg"]


@pytest.mark.parametrize("name", NAMES)
def test_their_files_import_without_torch(name: str) -> None:
    code = (
        f"import sys, relay.strategies.{name}; "
        "print({'torch', 'monai', 'imgaug', 'SimpleITK', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_model_is_never_shared_with_the_handover() -> None:
    came = handover()
    kept = copy.deepcopy(came.model)
    for name, options in (("sequential", {}), ("relay", {"owm_alpha": None})):
        averaged(begun(name, came, **options), 5)
    assert same(came.model, kept)
