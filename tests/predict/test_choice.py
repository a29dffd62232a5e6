"""Which model is tested or used: in a simulation, at a site of a study, and at a hospital that took no part."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from relay.bundle import manifest
from relay.bundle.stick import find
from relay.cli.app import app
from relay.config.devices import Devices
from relay.errors import HandoverError, UserError
from relay.exchange.receiving import receive
from relay.handover import Handover
from relay.leg.simulated_transport import STUDY
from relay.plan import plan
from relay.predict import choice, models
from relay.predict.choice import Given, OwnRun, lacking
from relay.predict.models import Model, NotAdopted, bundled, received
from relay.predict.study import Testing, predict_study, results_of
from relay.predict.table import show
from relay.results import read_rows
from relay.simulate import Simulation
from relay.trust.refusals import DigestMismatch
from tests.cli.typed import typed
from tests.leg.test_transport import Sites
from tests.strategies.toys import KEEPER
from tests.studies import TINY, finished, given, simulate, study

OUTSIDE = {"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c", "split": "test", "count": 4}}
THREE = {"all_tasks_datasets": [*TINY["all_tasks_datasets"], OUTSIDE]}
DEPLOYED = {"current_tasks.mode": "deployment", **KEEPER}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulation of two sites with experts, tested at a third."""
    return simulate(tmp_path_factory.mktemp("simulated"), **KEEPER, **THREE).run_paths.root


@pytest.fixture
def own(simulated: Path, tmp_path: Path) -> OwnRun:
    """A copy of it."""
    root = shutil.copytree(simulated, tmp_path / "run")
    return OwnRun(study(**KEEPER, **THREE), root, "study.yaml")


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sites, Simulation, Simulation]:
    """The same between two hospitals."""
    sites = Sites(tmp_path_factory.mktemp("hospitals"))
    return sites, sites.leg(1, **KEEPER), sites.leg(2, **KEEPER)


def about(models: Sequence[Model]) -> list[tuple[str, str, int, tuple[str, ...] | None]]:
    return [(model.folder, model.kind, model.number, model.sites) for model in models]


def told() -> tuple[list[str], Any]:
    said: list[str] = []
    return said, said.append


def test_without_a_choice_everything_that_is_here_is_tested(own: OwnRun) -> None:
    here = own.everything(pytest.fail)
    assert about(here) == [
        ("task_1", "generalist", 1, None),
        ("task_2", "generalist", 2, None),
        ("task_2_vote", "vote", 2, None),
        ("adopted_clinic_a", "adopted", 2, ("clinic_a",)),
        ("adopted_clinic_b", "adopted", 2, ("clinic_b",)),
    ]
    assert len({model.digest for model in here[:3]}) == 3
    folder = results_of(here, own.root)
    quiet = Console(quiet=True)
    found = predict_study(own.study, here, folder, own.root, Devices(), quiet, Testing(save=True, workers=0))
    assert folder == own.root / "results"
    rows = [row for row in read_rows(folder / "samples.csv") if row["metric"] == "dice" and row["sample"]]
    cells = {(row["leg"], row["model"], row["site"]) for row in rows}
    every = {"clinic_a", "clinic_b", "clinic_c"}
    wanted = {(leg, "generalist", site) for leg in (1, 2) for site in every} | {(2, "vote", site) for site in every}
    assert cells == wanted | {(2, "adopted", "clinic_a"), (2, "adopted", "clinic_b")}
    assert {(row["leg"], row["model"], row["site"]) for row in found["score"]} == cells
    assert {path.name for path in (folder / "predictions").iterdir()} == {model.folder for model in here}
    before = {_key(row): row["value"] for row in read_rows(own.root / "checkpoints/task_2/scores.csv")}
    now = {_key(row): row["value"] for row in rows if row["leg"] == 2 and row["model"] != "adopted"}
    assert now == pytest.approx(before, nan_ok=True, abs=1e-6)
    for site in ("clinic_a", "clinic_b"):
        adopted = {_key(row): row["value"] for row in read_rows(own.root / f"adopted/{site}/scores.csv")}
        again = {_key(row): row["value"] for row in rows if (row["model"], row["site"]) == ("adopted", site)}
        assert again == pytest.approx(adopted, nan_ok=True, abs=1e-6)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "site", "sample", "class"))


def test_in_a_simulation_each_choice_is_one_kind(own: OwnRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about(own.named("generalist", pytest.fail)) == about(own.generalists)
    assert about(own.named("vote", pytest.fail)) == [("task_2_vote", "vote", 2, None)]
    experts = own.named("own", pytest.fail)
    assert about(experts) == [
        ("task_2_expert_clinic_a", "expert", 1, ("clinic_a",)),
        ("task_2_expert_clinic_b", "expert", 2, ("clinic_b",)),
    ]
    assert results_of(experts, own.root, "own") == own.root / "results/own"
    assert results_of(own.generalists, own.root, "generalist") == own.root / "results"
    net, first = experts[0].net(Devices()), own.generalists[0]
    assert all(torch.allclose(net.state_dict()[name], t, atol=1e-2) for name, t in first.weights.items())
    for kind, unlike in (
        ("vote", "all of them have an equal say"),
        ("generalist", "the one model for everybody answers alone"),
    ):
        monkeypatch.setattr(choice, "preferred", lambda *_, kind=kind: (kind, "the test says so"))
        said, say = told()
        homes = [("adopted_clinic_a", "adopted", 2, ("clinic_a",)), ("adopted_clinic_b", "adopted", 2, ("clinic_b",))]
        assert about(own.named("auto", say)) == [*homes, ("task_2_vote", "vote", 2, ("clinic_c",))]
        assert said == [
            "Taken: the vote of the sites' models of leg 2. If an image looks unlike those of every site, "
            f"{unlike}, because the test says so."
        ]
        assert own.for_images(None, say).folder == "task_2_vote"
    with pytest.raises(UserError, match="--model own is one model for each of 2 sites") as caught:
        own.for_images("own", pytest.fail)
    assert caught.value.advice() == "Name one: --site clinic_a"
    assert about([own.for_images("own", pytest.fail, "clinic_b")]) == [about(own.named("own", pytest.fail))[1]]
    assert about([own.for_images("auto", pytest.fail, "clinic_a")]) == homes[:1]
    with pytest.raises(UserError, match="no leg at this site") as caught:
        own.for_images("own", pytest.fail, "clinic_z")
    assert "clinic_a, clinic_b" in caught.value.advice()
    with pytest.raises(UserError, match="--site clinic_a is for --model own"):
        own.for_images("generalist", pytest.fail, "clinic_a")


def test_one_leg_of_a_simulation_hands_nothing_over(simulated: Path) -> None:
    one = OwnRun(study(**KEEPER, **THREE, **{"current_tasks.task_ids": [1]}), simulated, "study.yaml")
    with pytest.raises(UserError, match="has one leg here, of clinic_a: no leg hands on") as caught:
        one.for_images("own", pytest.fail)
    assert "current_tasks.task_ids" in caught.value.advice()


def test_what_was_adopted_from_another_handover_is_not_taken_for_the_choice(own: OwnRun) -> None:
    for site, changes in (("clinic_a", {"handover": "another"}), ("clinic_b", {"model": "expert"})):
        path = own.root / f"adopted/{site}/adopted.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "model": "vote", **changes}))
    said, say = told()
    assert [model.folder for model in own.everything(say)] == ["task_1", "task_2", "task_2_vote", "adopted_clinic_b"]
    assert said == [
        "Not tested: clinic_a adopted a model before the newest handover arrived. Run again: relay adopt -c study.yaml "
        "-n run"
    ]
    with pytest.raises(NotAdopted, match="clinic_a adopted a model before"):
        own.named("auto", pytest.fail)
    shutil.rmtree(own.root / "adopted")
    assert [model.folder for model in own.everything(pytest.fail)] == ["task_1", "task_2", "task_2_vote"]
    with pytest.raises(NotAdopted, match="clinic_a has not adopted a model in") as caught:
        own.named("auto", pytest.fail)
    assert caught.value.advice() == "Run: relay adopt -c study.yaml -n run"


def test_an_expert_of_another_net_says_where_it_is_from(own: OwnRun) -> None:
    vote = own.named("vote", pytest.fail)[0]

    def broken() -> Any:
        raise HandoverError("the weights don't match")

    with pytest.raises(HandoverError, match=f"{own.root}: the weights don't match"):
        Model(**{**vote.__dict__, "made": broken}).net(Devices())


def test_a_run_without_experts_has_its_generalists_only(tmp_path: Path) -> None:
    here = OwnRun(study(), finished(tmp_path / "run"), "study.yaml")
    assert [model.folder for model in here.everything(pytest.fail)] == ["task_1", "task_2"]
    for which, site in (("vote", "sequential"), ("own", "sequential")):
        with pytest.raises(UserError, match=f"trained with the strategy {site}, which carries none") as caught:
            here.named(which, pytest.fail)  # type: ignore[arg-type]
        assert caught.value.advice() == "Use --model generalist or --model auto."
    said, say = told()
    assert here.for_images(None, say).folder == "task_2"
    assert said == [f"Taken: the one model of leg 2 ({here.generalists[-1].source})."]
    shutil.rmtree(here.root / "handoff")
    again = OwnRun(here.study, here.root, "study.yaml")
    assert [model.folder for model in again.everything(pytest.fail)] == ["task_1", "task_2"]
    with pytest.raises(UserError, match="no handover of tiny is here"):
        again.named("vote", pytest.fail)


def test_where_every_site_is_alone_its_model_is_its_own() -> None:
    alone = study(**{"common.strategy.name": "local"})
    here = OwnRun(alone, Path())
    made = [Model(leg.folder, leg, leg.number, leg.task_name, {}, Path()) for leg in alone.legs]
    here.__dict__["generalists"] = made
    for which in ("own", "auto"):
        assert [model.sites for model in here.named(which, pytest.fail)] == [("clinic_a",), ("clinic_b",)]  # type: ignore[arg-type]


def test_a_test_set_that_is_not_here_is_named(own: OwnRun) -> None:
    here = [Model("x", own.study.legs[0], 1, "north", {}, Path(), sites=("north",))]
    with pytest.raises(UserError, match="no test images of north are here"):
        predict_study(own.study, here, own.root, own.root, Devices(), Console(quiet=True), Testing())


def at_hospital(hospitals: tuple[Sites, Simulation, Simulation], task: int, root: Path | None = None) -> OwnRun:
    run = hospitals[task]
    return OwnRun(run.study, root or run.run_paths.root, "study.yaml")


def test_a_site_uses_its_last_leg_until_it_has_adopted(hospitals: tuple[Sites, Simulation, Simulation]) -> None:
    here = at_hospital(hospitals, 2)
    assert about(here.everything(pytest.fail)) == [
        ("task_2", "generalist", 2, None),
        ("task_2_vote", "vote", 2, None),
    ]
    assert about(here.named("own", pytest.fail)) == [("task_2_expert_clinic_b", "expert", 2, ("clinic_b",))]
    said, say = told()
    assert here.for_images(None, say).folder == "task_2_vote"
    assert said[0].startswith("Taken: the vote of the sites' models of leg 2. ")
    assert said[1].startswith("clinic_b has not adopted a model in ")
    assert said[1].endswith("Run: relay adopt -c study.yaml -n clinic_b")
    with pytest.raises(NotAdopted, match="clinic_b has not adopted a model"):
        here.for_images("auto", pytest.fail)


def test_a_site_that_has_received_a_later_leg_uses_that_one(
    hospitals: tuple[Sites, Simulation, Simulation], tmp_path: Path
) -> None:
    sites = hospitals[0]
    homes = Path(shutil.copytree(sites.study.root, tmp_path / "homes"))
    handoff = {"study": STUDY, "key": str(homes / "clinic_a"), "receive": None, "send": None}
    config = given(**DEPLOYED, **{"current_tasks.handoff": handoff, "current_tasks.task_ids": [1]})
    here = OwnRun(plan(config, "tiny"), hospitals[1].run_paths.root)
    assert about(here.everything(pytest.fail)) == [("task_1", "generalist", 1, None), ("task_1_vote", "vote", 1, None)]
    bundle = next(found.path for found in find(homes / "stick") if found.leg == 2)
    receive(models.store_of(here.study), sites.study.keys("clinic_a"), bundle)
    later = OwnRun(here.study, here.root)
    assert about(later.everything(pytest.fail)) == [
        ("task_1", "generalist", 1, None),
        ("received_leg_2_vote", "vote", 2, None),
    ]
    assert about(later.named("own", pytest.fail)) == [("received_leg_2_expert_clinic_a", "expert", 1, ("clinic_a",))]
    untrained = OwnRun(here.study, tmp_path / "new")
    assert [model.folder for model in untrained.everything(pytest.fail)] == ["received_leg_2", "received_leg_2_vote"]
    weights = models.store_of(here.study).received(2) / "expert.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(DigestMismatch):
        OwnRun(here.study, here.root).everything(pytest.fail)


def test_what_was_received_or_is_in_a_bundle_has_a_vote_too(
    hospitals: tuple[Sites, Simulation, Simulation],
) -> None:
    sites, first, second = hospitals
    one = Given(second.study, *received(second.study, 1))
    assert about(one.everything(pytest.fail)) == [
        ("received_leg_1", "generalist", 1, None),
        ("received_leg_1_vote", "vote", 1, None),
    ]
    assert results_of(one.named("vote", pytest.fail), Path(), "vote") == Path("results/received_leg_1_vote")
    with pytest.raises(UserError, match="clinic_b has no model of its own: the sites that took part are clinic_a"):
        one.named("own", pytest.fail)
    bundle = next(found.path for found in find(sites.study.stick) if found.leg == 2)
    two = Given(first.study, *bundled(first.study, bundle, sites.study.keys("clinic_a")))
    assert [model.kind for model in two.everything(pytest.fail)] == ["generalist", "vote"]
    assert two.named("own", pytest.fail)[0].number == 1
    said, say = told()
    assert [model.kind for model in two.named("auto", say)] == ["vote"] == [two.for_images(None, say).kind]
    assert len(said) == 2


@pytest.mark.parametrize(
    ("experts", "withdrawn", "why"),
    [
        ("none", (), "the policy of study vessels lets no expert travel"),
        ("full", (1, 2), "roster 3 has withdrawn the experts of legs 1, 2"),
        ("full", (), "trained with the strategy relay, which carries none"),
    ],
)
def test_why_there_are_no_experts(
    experts: str, withdrawn: tuple[int, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = SimpleNamespace(
        policy=SimpleNamespace(experts=experts), withdrawn_experts=withdrawn, version=3, study="vessels"
    )
    monkeypatch.setattr(models, "store_of", lambda _: SimpleNamespace(roster=roster, received=lambda leg: tmp_path))
    legs = [{"leg": n, "site": site, "strategy": "relay", "train_samples": 8} for n, site in enumerate("ab", 1)]
    deployed: Any = SimpleNamespace(handoff=True)
    assert why in str(lacking(deployed, Handover({}, facts={"legs": legs})))
    (tmp_path / manifest.SHARE).touch()
    assert ("shared without experts" in str(lacking(deployed, Handover({}, facts={"legs": legs})))) == (
        not (withdrawn or experts == "none")
    )


def test_adopt_and_predict_at_a_hospital(
    hospitals: tuple[Sites, Simulation, Simulation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As typed there, under a new note; the choice is then used without being named."""
    monkeypatch.chdir(tmp_path)
    for task, site in ((1, "clinic_a"), (2, "clinic_b")):
        handoff = {"study": STUDY, "key": str(hospitals[0].study.root / site)}
        config = given(**DEPLOYED, **{"current_tasks.handoff": handoff, "current_tasks.task_ids": [task]})
        Path(f"{site}.yaml").write_text(yaml.safe_dump(config))
        done = CliRunner().invoke(app, ["adopt", "-c", f"{site}.yaml"], catch_exceptions=False)
        said = " ".join(done.output.split())
        assert done.exit_code == 0, said
        assert ("warning: this is leg 1 of 2: the relay goes on." in said) == (task == 1)
        record = json.loads(Path(f"exps/{site}/run/adopted/{site}/adopted.json").read_text())
        assert f"{site}, on its validation images" in said
        assert f"Adopted: {record['model']} (" in said
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save("eye.png")
    done = CliRunner().invoke(app, ["predict", "-c", "clinic_b.yaml", "--image", "eye.png"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Taken: the model that clinic_b adopted" in done.output
    assert len(list(Path("exps/clinic_b/run/results/images/adopted_clinic_b").glob("eye.png-*_mask.png"))) == 1
    command = ["predict", "-c", "clinic_b.yaml", "--images", "eye.png", "-o"]
    for out, words, kinds, legs in (("adopted", [], {"adopted"}, 2), ("received", ["--received", "1"], {"vote"}, 1)):
        done = CliRunner().invoke(app, [*command, out, *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        about = json.loads(Path(out, "about.json").read_text())
        assert (about["model"]["model"] in kinds, len(about["model"]["legs"])) == (True, legs)
        assert about["counts"]["predicted"] == 1
    done = CliRunner().invoke(app, ["predict", "-c", "clinic_b.yaml", "--model", "auto", "-s"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = Path("exps/clinic_b/run/results/auto")
    assert {row["model"] for row in read_rows(folder / "samples.csv")} == {"adopted", "vote"}
    assert (folder / "predictions/adopted_clinic_b/clinic_b").is_dir()
    Path("exps/clinic_b/run/adopted/clinic_b/adopted.json").write_text("{")
    done = CliRunner().invoke(app, ["predict", "-c", "clinic_b.yaml"])
    assert done.exit_code == 2
    assert "adopted.json is damaged" in " ".join(done.output.split())


def test_a_site_of_a_simulation_is_named_on_the_command_line(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(simulated, tmp_path / "exps/study/run")
    Path("study.yaml").write_text(yaml.safe_dump(given(**KEEPER, **THREE)))
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save("eye.png")
    command = ["predict", "-c", "study.yaml", "--image", "eye.png", "--model", "own"]

    def run(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
        return done.exit_code, " ".join(done.output.split())

    code, said = run()
    assert (code, "Name one: --site clinic_a" in said) == (2, True)
    code, said = run("--site", "clinic_c")
    assert (code, "It has: clinic_a, clinic_b." in said) == (2, True)
    alone = CliRunner().invoke(app, [*command[:-2], "--site", "clinic_c"], catch_exceptions=False)
    assert "It has: clinic_a, clinic_b." in " ".join(alone.output.split()), "without --model: auto"
    code, said = run("--site", "clinic_b")
    assert code == 0, said
    (mask,) = Path("exps/study/run/results/images").glob("*/eye.png-*_mask.png")
    assert mask.parent.name.endswith("expert_clinic_b")


def test_a_hospital_without_a_turn_can_adopt_too(
    hospitals: tuple[Sites, Simulation, Simulation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no expert, but may fine-tune; what it adopted is then tested without a checkpoint."""
    monkeypatch.chdir(tmp_path)
    handoff = {"study": STUDY, "key": str(hospitals[0].study.root / "clinic_b")}
    config = given(**DEPLOYED, **{"current_tasks.handoff": handoff, "current_tasks.task_ids": [3]})
    config["all_tasks_datasets"] = [{"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c"}}]
    Path("outside.yaml").write_text(yaml.safe_dump(config))
    done = CliRunner().invoke(app, ["adopt", "-c", "outside.yaml"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = json.loads(Path("exps/outside/run/adopted/clinic_c/adopted.json").read_text())
    assert record["candidates"].keys() - {"tuned"} == {"generalist", "vote"}
    here = OwnRun(plan(config, "outside", train=False), Path("exps/outside/run"))
    assert [model.folder for model in here.named("auto", pytest.fail)] == ["adopted_clinic_c"]
    with pytest.raises(
        UserError, match="clinic_c has no model of its own: the sites that took part are clinic_a, clinic_b"
    ):
        here.named("own", pytest.fail)


@pytest.mark.parametrize("experts", [True, False])
def test_a_hospital_that_only_tests_has_nothing_to_adopt(
    experts: bool, hospitals: tuple[Sites, Simulation, Simulation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With split: test, the one line says which model is taken, and no line asks for relay adopt, which can't run."""
    monkeypatch.chdir(tmp_path)
    handoff = {"study": STUDY, "key": str(hospitals[0].study.root / "clinic_b")}
    config = given(**DEPLOYED, **{"current_tasks.handoff": handoff, "current_tasks.task_ids": [3]})
    data = {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c", "split": "test"}
    config["all_tasks_datasets"] = [{"kwargs": data}]
    here = OwnRun(plan(config, "outside", train=False), Path("exps/outside/run"))
    if not experts:
        assert here.incoming
        here.__dict__["inside"] = {"generalist": here.inside["generalist"]}
    for which in (None, "auto"):
        said, say = told()
        kind = here.for_images(which, say).kind
        (line,) = said
        assert line.startswith("Taken: the vote" if experts else "Taken: the one model of leg 2")
        assert [model.kind for model in here.named("auto", say)] == [kind]
    Path("outside.yaml").write_text(yaml.safe_dump(config))
    typed("data", "check", "outside.yaml")
    typed("adopt", "-c", "outside.yaml").refused(2, "leaves nothing to train on: leave it out")


def test_adopt_needs_a_finished_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for strategy, wrong, cure in (
        (
            "local",
            "nothing is handed over in study (local), so there is nothing to adopt",
            "Give the config of a relay.",
        ),
        ("sequential", "leg 1 (clinic_a) is not finished in exps/study/run", "Run relay train with the same -c and -n"),
    ):
        Path("study.yaml").write_text(yaml.safe_dump(given(**{"common.strategy.name": strategy})))
        done = CliRunner().invoke(app, ["adopt", "-c", "study.yaml"])
        said = " ".join(done.output.split())
        assert done.exit_code == 2
        assert f"error: {wrong}" in said
        assert f"what to do: {cure}" in said


@pytest.mark.parametrize("width", [60, 80])
def test_the_screen_has_the_kinds_below_each_other(width: int) -> None:
    kinds = [("generalist", 2, "b"), ("vote", 2, "b"), ("adopted", 2, "a"), ("adopted", 2, "b")]
    about = {"samples": 4, "low": 0.5, "high": 0.9, "measured": 4}
    dice = [
        {**about, "model": kind, "leg": leg, "trained": trained, "site": site, "mean": 0.7}
        for kind, leg, trained in kinds
        for site in (("a", "b") if kind != "adopted" else (trained,))
    ]
    dice.insert(0, {**dice[0], "leg": 1, "trained": "a"})
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        show(console, {"study": "tiny", "score": dice, "rows": [], "classes": []}, Path("x"), Path("x"))
    lines = captured.get().splitlines()
    assert lines[0] == "tiny: the models at the end"
    cells = [[part.strip() for part in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[:2] for row in cells] == [[site, kind] for site in "ab" for kind in ("generalist", "vote", "adopted")]
    assert max(map(len, lines)) <= width
    assert "adopted: Mean Dice over 2 test sets: 0.700; lowest at a (0.700)." in " ".join(captured.get().split())
