"""Which images to correct first, and learning from corrected masks: accepted only if validation does not fall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from relay import adopt
from relay.config import Devices
from relay.correct import (
    LearnPaths,
    Target,
    add,
    learn,
    learning,
    predicted,
    rank,
    ranked,
    ranking,
    ranking_in,
    site_of,
    start_of,
)
from relay.data import prepare
from relay.errors import DataError, Interrupted, UserError
from relay.leg import Progress, RunPaths, scores, tuning
from relay.predict import OwnRun
from relay.results import mean
from relay.simulate import Simulation
from tests.leg.test_resume import StopAt
from tests.strategies.toys import KEEPER
from tests.studies import finished, study

SITE = "clinic_a"
TWO = {
    "common.strategy.name": KEEPER["common.strategy.name"],
    **{f"common.dataset.kwargs.{key}": value for key, value in (("count", 20), ("size", 16), ("img_size", (16, 16)))},
}
"""Dotted, so that the run is made once."""


@pytest.fixture
def run(tmp_path: Path) -> OwnRun:
    """A relay of two sites whose experts travel; both adopted a model at its end."""
    return OwnRun(study(**TWO), finished(tmp_path / "run", **TWO), "tiny")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target.of(study(**TWO), tmp_path, SITE)


def correct(target: Target, many: int = 2, part: str = "train") -> list[str]:
    """Correct some masks: everything becomes background."""
    names = [name for name, split in target.splits.items() if split == part][:many]
    for name in names:
        before, source = start_of(target, target.images[name])
        add(target, target.images[name], np.zeros_like(before), "Dr. Who", source, before)
    return names


def learned(run: OwnRun, target: Target, least: int = 2, scored: bool = False) -> dict[str, Any]:
    paths, start = RunPaths(run.root), run.at_home(target.leg, single=True)
    assert run.incoming is not None
    site = site_of(target, paths, least, scored)
    return learn("tiny", target, start, run.incoming, site, paths, Devices(), Progress())


def weights(run: OwnRun, target: Target) -> dict[str, torch.Tensor]:
    return dict(OwnRun(run.study, run.root, "tiny").at_home(target.leg).weights)


# -- which first -------------------------------------------------------------------------------------------------------


def entropy(*parts: NDArray[np.float32]) -> float:
    found = ranking.Entropy()
    for part in parts:
        found.add(part)
    return found.mean


def test_entropy_is_of_the_region_that_may_be_foreground() -> None:
    likely = np.zeros((3, 2, 2), np.float32)
    likely[0] = 1
    assert entropy(likely) == 0
    likely[:, 0, 0] = 1 / 3
    assert entropy(likely) == pytest.approx(1)
    likely[:, 0, 1] = [0.1, 0.9, 0]
    assert entropy(likely) == pytest.approx((1 + 0.3250830 / np.log(3)) / 2, abs=1e-5)
    assert entropy(likely[:, :1], likely[:, 1:]) == entropy(likely)
    likely[:, 0] = [[0.9, 0.8], [0.1, 0.2], [0, 0]]
    assert entropy(likely) == pytest.approx(0.5004024 / np.log(3), abs=1e-5)  # the most uncertain voxel
    assert entropy(likely[:, :1], likely[:, 1:]) == entropy(likely)


def test_disagreement_is_one_less_dice_over_pairs(target: Target) -> None:
    one, two, none = (np.zeros((2, 2), np.uint8) for _ in range(3))
    one[0] = 1
    two[:, 0] = 1
    assert ranking.disagreement(target, [one, one]) == 0
    assert ranking.disagreement(target, [none, none]) == 0
    assert ranking.disagreement(target, [one, two]) == pytest.approx(0.5)
    assert ranking.disagreement(target, [one, one, none]) == pytest.approx(2 / 3)


def test_images_are_ranked_and_their_predictions_can_be_corrected(run: OwnRun, target: Target) -> None:
    names = [name for name, split in target.splits.items() if split == "train"][:3]
    found, by = rank(target, run, [target.images[name] for name in names], Devices(), Progress())
    assert by == "disagreement"
    assert sorted(row.image for row in found) == sorted(names)
    values = [row.disagreement for row in found]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    digest = run.at_home(target.leg).digest
    assert ranking_in(run.root, target) == (found, by, digest)
    path, model = predicted(run.root, target, target.images[names[0]])
    assert (path.suffix, model) == (".png", digest)
    with pytest.raises(DataError, match="no prediction of"):
        predicted(run.root, target, target.images[next(n for n in target.images if n not in names)])
    (ranked.folder_of(run.root, target) / "ranking.json").write_text('{"images": [{}]}')
    with pytest.raises(UserError, match=r"ranking\.json is damaged"):
        ranking_in(run.root, target)


# -- learning ----------------------------------------------------------------------------------------------------------


def test_a_model_that_validates_no_worse_is_adopted_and_used(
    run: OwnRun, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, before = correct(target), weights(run, target)
    monkeypatch.setattr(learning, "judged", lambda *_: (True, "it did not fall"))
    record = learned(run, target)
    assert (record["accepted"], record["corrected"], sorted(record["versions"]["train"])) == (True, 2, sorted(names))
    assert LearnPaths.of(RunPaths(run.root), SITE).read() == json.loads(json.dumps(record))
    again = OwnRun(run.study, run.root, "tiny")
    model = again.at_home(target.leg)
    assert model.digest == record["made"] != record["start"]
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.weights.items())
    paths = adopt.AdoptPaths.of(RunPaths(run.root), SITE)
    choice = adopt.read(paths)
    assert choice is not None
    assert (choice["model"], choice["learned"]["key"]) == ("learned", record["key"])
    assert {row["model"] for row in adopt.score_rows(paths, choice)} == {"adopted"}
    simulation = Simulation(run.study, run.root)
    assert simulation.adopt(run.study.legs[0], Progress()) == choice  # adopting again keeps it
    monkeypatch.setattr(learning, "tune", lambda *_, **__: pytest.fail("trained again"))
    assert learned(again, target) == record
    LearnPaths.of(RunPaths(run.root), SITE).record.unlink()  # as if killed before it was written
    assert learned(again, target)["key"] == record["key"]
    assert LearnPaths.of(RunPaths(run.root), SITE).record.is_file()


def test_a_model_that_validates_worse_changes_nothing(
    run: OwnRun, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct(target)
    before, adopted = weights(run, target), adopt.read(adopt.AdoptPaths.of(RunPaths(run.root), SITE))
    scored = iter([[("p", 0.6)], [("p", 0.59)]])
    monkeypatch.setattr(learning, "scores", lambda *_: next(scored))
    record = learned(run, target)
    assert not record["accepted"]
    assert record["why"] == "the mean Dice on 1 validation images was 0.6000 before, and is 0.5900 after"
    assert adopt.read(adopt.AdoptPaths.of(RunPaths(run.root), SITE)) == adopted
    after = weights(run, target)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not list(LearnPaths.of(RunPaths(run.root), SITE).root.glob("*.ckpt"))
    assert learned(run, target) == LearnPaths.of(RunPaths(run.root), SITE).read()


def test_the_learned_model_is_better_on_what_was_corrected(run: OwnRun, tmp_path: Path) -> None:
    """Two classes were mixed up in every stored mask."""
    target = Target.of(study(**TWO, **{"common.train.num_epochs": 24}), tmp_path, SITE)
    names = [name for name, split in target.splits.items() if split != "test"]
    for name in names:
        before, source = start_of(target, target.images[name])
        add(target, target.images[name], np.array([0, 2, 1], np.uint8)[before], "Dr. Who", source, before)
    corrected = prepare(target.corrected, 7)

    def score() -> float:
        net = OwnRun(run.study, run.root, "tiny").at_home(target.leg).built()
        return mean(dice for _, dice in scores(net, corrected, [corrected.train], torch.device("cpu")))

    before = score()
    record = learned(run, target, scored=True)
    assert record["accepted"]
    assert record["after"]["mean"] > record["before"]["mean"]
    assert score() > before + 0.05


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [(0.5, 0.5, True), (0.5, 0.6, True), (0.5, 0.49, False), (float("nan"), 0.5, False), (0.5, float("nan"), False)],
)
def test_what_is_accepted(before: float, after: float, accepted: bool, target: Target) -> None:
    assert learning.judged([("p", before)], [("p", after)], target.leg)[0] is accepted


def test_killed_and_resumed_gives_the_same_model(run: OwnRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target.of(study(**TWO, **{"common.train.num_epochs": 6}), tmp_path, SITE)
    correct(target)
    monkeypatch.setattr(learning, "judged", lambda *_: (True, ""))
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "ShowProgress", StopAt)
        patch.setattr(StopAt, "left", 5)
        with pytest.raises(Interrupted, match="stopped in leg"):
            learned(run, target)
    assert list(LearnPaths.of(RunPaths(run.root), SITE).root.glob("phase_1_learn_*.ckpt"))
    resumed = learned(run, target)["made"]
    other = OwnRun(run.study, finished(tmp_path / "other", **TWO), "tiny")
    assert learned(other, target)["made"] == resumed


def test_validation_masks_that_were_corrected_count_only_if_a_person_says_so(run: OwnRun, target: Target) -> None:
    correct(target)
    (name,) = correct(target, 1, "val")
    plain, scored = learned(run, target), learned(run, target, scored=True)
    assert plain["versions"]["val"] == {}
    assert list(scored["versions"]["val"]) == [name]
    assert plain["key"] != scored["key"]


def test_too_few_corrections_or_no_validation_images_are_refused(run: OwnRun, target: Target, tmp_path: Path) -> None:
    correct(target, 1, "test")
    with pytest.raises(UserError, match=r"0 training images of clinic_a .* at least 2 are") as caught:
        learned(run, target)
    assert "--min-samples" not in caught.value.advice()
    correct(target, 1)
    with pytest.raises(UserError, match="1 training images"):
        learned(run, target)
    without = study(**TWO, **{"common.dataset.kwargs.val_fraction": 0.0})
    with pytest.raises(UserError, match="has no validation images"):
        site_of(Target(without.legs[0], target.folder), RunPaths(tmp_path / "new"), 1, False)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    paths = LearnPaths(tmp_path)
    assert paths.read() is None
    paths.record.write_text("{}")
    with pytest.raises(UserError, match=r"learned\.json is damaged: 'site' is missing"):
        paths.read()
