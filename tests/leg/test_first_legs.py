"""A first leg that several strategies have in common is trained once, and changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relay.files import write_bytes
from relay.leg.first_legs import FirstLeg, first_leg
from relay.leg.learner import Learner
from relay.leg.progress import Progress
from relay.leg.sites import Known
from relay.simulate import Simulation
from strategies.sequential import Sequential
from tests.studies import study

QUICK = {"common.train.num_epochs": 1, "common.dataset.kwargs.repeats": 1, "current_tasks.task_ids": [1]}


class Own(Sequential):
    """Somebody's own: it does not say that it begins plainly."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The phase of each step that is trained."""
    taken: list[str] = []
    real = Learner.training_step

    def step(self: Learner, *batch: Any) -> Any:
        taken.append(self.phase.name)
        return real(self, *batch)

    monkeypatch.setattr(Learner, "training_step", step)
    return taken


def run(root: Path, kept: Path | None, strategy: str) -> dict[str, bytes]:
    """The weights that the leg hands over: model, memories and expert, as written."""
    simulation = Simulation(study(**{"common.strategy.name": strategy, **QUICK}), root, known=Known(kept))
    with Progress(simulation.steps) as progress:
        simulation.run(progress)
    found = (root / "checkpoints").glob("*/handover/*.safetensors")
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_weights_and_memories_are_the_same_as_without(tmp_path: Path, steps: list[str]) -> None:
    alone = run(tmp_path / "alone", None, "relay")
    kept = tmp_path / "kept"
    run(tmp_path / "local", kept, "local")
    steps.clear()
    found = run(tmp_path / "relay", kept, "relay")
    assert "learn" not in steps
    assert {Path(name).name for name in found} > {"model.safetensors", "memory.safetensors"}
    assert found == alone
    records = [json.loads((tmp_path / name / "checkpoints/task_1/leg.json").read_text()) for name in ("local", "relay")]
    assert records[1]["train_seconds"] >= 0.9 * records[0]["train_seconds"]  # as if it had trained itself
    assert list((tmp_path / "relay/tensorboard/task_1").glob("events*"))


def test_what_is_damaged_is_trained_again(tmp_path: Path, steps: list[str]) -> None:
    kept = tmp_path / "kept"
    run(tmp_path / "one", kept, "sequential")
    for name in ("state.ckpt", "about.json"):
        (path,) = kept.glob(f"*/{name}")
        path.write_bytes(path.read_bytes()[:-9])
        steps.clear()
        run(tmp_path / name, kept, "sequential")
        assert "learn" in steps


def test_the_place_tells_apart_what_gives_other_weights(tmp_path: Path) -> None:
    class Devices:
        world_size, accelerator = 1, "cpu"

    def place(files: Any = "files", own: Any = None, **changes: Any) -> Path | None:
        leg: Any = study(**changes).legs[0]
        object.__setattr__(leg, "strategy", own or leg.strategy)
        found = first_leg(tmp_path, leg, files, ["split"], Devices, "versions")  # type: ignore[arg-type]
        return found and found.folder

    plain = place()
    assert plain == place(**{"common.strategy.name": "relay"}) == place(**{"common.strategy.name": "local"})
    assert plain == place(**{"common.train.save_every_n_seconds": 5})
    others = [place("others"), *(place(**{key: 5}) for key in ("common.random_seed", "common.train.num_epochs"))]
    others.append(place(**{"current_tasks.task_ids": [2, 1]}))
    assert len({plain, *others}) == 5
    assert place(own=Own(None)) is place(**{"common.strategy.name": "joint"}) is None


def test_runs_that_train_the_same_leg_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    state, curves, shared = tmp_path / "state.ckpt", tmp_path / "curves", FirstLeg(tmp_path / "kept" / "leg")
    curves.mkdir()

    def train(number: int) -> None:
        mine = state.with_name(f"{number}.ckpt")
        shared.fit(lambda: write_bytes(mine, bytes(1000)), mine, curves)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(train, range(40)))
    assert [path.name for path in shared.folder.parent.iterdir()] == ["leg"]
    shared.take(state, curves)
    assert state.read_bytes() == bytes(1000)
