"""Configs of the published project are read as they are; what else is wrong in one is still said, at its own path."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings, strategies as st
from PIL import Image

from relay.config.published import GANS, UNUSED, translate
from relay.errors import ConfigError
from relay.plan import Config, Study
from tests import studies
from tests.cli.typed import typed

ADAM = {"name": "Adam", "kwargs": {"lr": 0.001}}
GAN_VALUES: dict[str, Any] = {
    **dict.fromkeys((key for key in GANS if "." not in key and key != "task_merge_replay"), 1),
    **{f"{letter}_{what}_kwargs": {"channel_max": 128} for letter in "GD" for what in ("img", "label")},
    "num_stages": 2,
    "replay_c_select_mode": "uniform",
    "aug_conf_img": "bgcfn",
    "aug_p_range_img": [0.0, 1.0],
}
SOLVER = {"in_channels": 3, "num_classes": 3, "bilinear": False, "backbone": "resnet18"}
DOUBLEGAN = {
    "task": "segmentation",
    "optimizer_conf": {"G": ADAM, "D": ADAM, "M": {"name": "Adam", "kwargs": {"lr": 0.002}}},
    "solver_name": "U-Net",
    "solver_kwargs": SOLVER,
    "weighted_merge": True,
    "replay_data_ratio": "half",
    "solver_distil_weight": 0.5,
    **GAN_VALUES,
}
LOSS = {
    "name": "ExpLogLoss",
    "kwargs": {
        "soft_dice": True,
        "dice_kwargs": {"do_bg": False, "batch_dice": True},
        "wce_kwargs": {"weight": [1, 2, 2]},
        "gamma": 0.3,
    },
}
TRAIN = {"num_mimgs": 3, "batch_size": 128, "precision": 32, "gradient_clip": 0.0, "loss": LOSS}
BASELINE = {**TRAIN, "optimizer": {**ADAM, "lr_scheduler": None}}
SIX = ("relay", "relay_deploy", "relay_test", "joint", "sequential", "local")


def published(name: str, root: Path | str = "/home/user/data/fundus") -> dict[str, Any]:
    """The config of that name, with the published one's keys."""
    relay = name.startswith("relay")
    pretrain: dict[str, Any] = {"solver_kwargs": {"pretrain": True}} if relay else {"pretrain": True}
    sites = [1] if name == "relay_deploy" else [1, 2, 3, 4]
    tasks: dict[int, Any] = {i: {"checkpoint": {"load": f"task_{i - 1}/last.ckpt"}} for i in sites}
    tasks[1] = {"model": {"kwargs": pretrain}, "checkpoint": {"load": None, "resume": None}}
    if name == "relay_test":
        tasks = {4: {"checkpoint": {}}}
    elif name in ("relay_deploy", "joint"):
        tasks = {1: tasks[1]}
    for task_id, task in tasks.items():
        task["checkpoint"]["save"] = {"dir": f"task_{task_id}"}
    image = {"img_size": [64, 64], "use_roi": True, "intensity_range": [-1.0, 1.0], "repeats": 200 if relay else 10}
    kwargs = {"task": "segmentation", "num_classes": 3, "root_path": str(root), **image}
    strategy = {"load_state_dict_from_previous_task": False} if name == "local" else {}
    model = {"name": "doublegan", "kwargs": DOUBLEGAN} if relay else {"name": "U-Net", "kwargs": SOLVER}
    whole = {
        "common": {
            "random_seed": 1314,
            "num_workers": 4,
            "dataset": {"name": "fundus", "kwargs": kwargs},
            "strategy": {"name": "relay" if relay else "baseline", "kwargs": {**strategy, "rgb_inputs": True}},
            "model": model,
            "train": TRAIN if relay else BASELINE,
        },
        "all_tasks_datasets": [
            {"kwargs": {"task_id": i, "task_name": f"Domain{i}", "img_folder": f"Domain{i}"}} for i in sites
        ],
        "current_tasks": {"task_ids": list(tasks), "task_confs": tasks},
    }
    if name == "joint":
        whole["common"]["train"] = {**BASELINE, "num_mimgs": 10, "joint_training": True}  # type: ignore[index]
        whole["common"]["model"] = {"name": "U-Net", "kwargs": {**SOLVER, "pretrain": True}}  # type: ignore[index]
    return copy.deepcopy(whole)


def changed(name: str, root: Path, **values: Any) -> dict[str, Any]:
    """One of the six with dotted keys replaced."""
    config = published(name, root)
    for path, value in values.items():
        *parents, last = path.split(".")
        node: Any = config
        for part in parents:
            node = node[int(part) if part.isdecimal() else part]
        node[last] = value
    return config


def plan(config: dict[str, Any], train: bool = True) -> Study:
    return Config(translate(config), "theirs").plan(train=train)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DoFE's folders with two drawn photographs in each."""
    data = tmp_path_factory.mktemp("dofe")
    rng = np.random.default_rng(0)
    mask = np.full((48, 48, 3), 255, np.uint8)
    mask[12:36, 12:36] = 128
    mask[18:30, 18:30] = 0
    for place in [f"Domain{i}/{part}/ROIs" for i in (1, 2, 3, 4) for part in ("train", "test")]:
        for kind in ("image", "mask"):
            (data / place / kind).mkdir(parents=True)
        for number in (1, 2):
            image = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(image).save(data / place / "image" / f"{number}.png")
            Image.fromarray(mask).save(data / place / "mask" / f"{number}.png")
    return data


@pytest.mark.parametrize("name", SIX)
def test_the_six_configs_are_planned_as_they_are(name: str, root: Path) -> None:
    study = plan(published(name, root))
    numbers = {"relay_deploy": [1], "relay_test": [4], "joint": [1]}.get(name, [1, 2, 3, 4])
    strategy = "relay" if name.startswith("relay") else name
    assert [leg.task_id for leg in study.legs] == numbers
    assert study.strategy == strategy
    leg = study.legs[-1]
    assert (leg.net.options.backbone, leg.net.options.in_channels, leg.data.channels) == ("resnet18", 3, 3)
    assert leg.start == ("task_3" if name in ("relay", "sequential") else None)
    assert (leg.train.num_mimgs, len(leg.pool)) == ((2.5, 4) if name == "joint" else (3, 1))
    assert leg.scheduler.factor(9, 10) == 1.0


def test_the_gans_settings_become_those_of_the_strategy(root: Path) -> None:
    options = plan(published("relay", root)).legs[-1].strategy.options
    assert (options.replay, options.distil_weight, options.temperature, options.merge) == (0.5, 0.5, 2.0, "samples")
    assert options.memory is not None
    assert plan(published("relay", root)).legs[-1].optimizer.lr == 0.002


@pytest.mark.parametrize(
    ("key", "value", "option", "here"),
    [
        ("weighted_merge", False, "merge", 0.5),
        ("num_stages", 1, "merge", 0.0),
        ("solver_distil_weight", 2, "distil_weight", 2.0),
        ("distil_tau", 3, "temperature", 3.0),
        ("replay_data_ratio", "even", "replay", 0.5),
    ],
)
def test_a_setting_is_translated_for_all_legs_or_one(key: str, value: Any, option: str, here: Any, root: Path) -> None:
    third = {"model": {"kwargs": {key: value}}, "checkpoint": {"load": "task_2"}}
    legs = plan(changed("relay", root, **{"current_tasks.task_confs.3": third})).legs
    usual = getattr(legs[1].strategy.options, option)
    assert [getattr(leg.strategy.options, option) for leg in legs] == [usual, usual, here, usual]
    everywhere = translate(changed("relay", root, **{f"common.model.kwargs.{key}": value})).config["common"]
    assert everywhere["strategy"]["kwargs"][option] == here


def test_every_key_is_accounted_for_once() -> None:
    read = translate(published("relay"))
    listed = [key for keys in [*read.unused.values(), *read.translated.values()] for key in keys]
    assert len(listed) == len(set(listed))
    silent = {"task", "solver_name", "solver_kwargs", "optimizer_conf"}
    assert set(DOUBLEGAN) - silent <= set(listed)
    assert {"optimizer_conf.G", "optimizer_conf.D", "optimizer_conf.M", "bilinear", "pretrain", "rgb_inputs"} <= set(
        listed
    )
    assert read.problems == []


def test_what_the_user_says_in_our_words_stays(root: Path) -> None:
    config = changed(
        "relay",
        root,
        **{
            "common.strategy.kwargs.merge": 0.25,
            "common.train.optimizer": {"name": "SGD"},
            "common.model.kwargs.pretrained": "weights.pth",
        },
    )
    read = translate(config)
    assert read.config["common"]["strategy"]["kwargs"]["merge"] == 0.25
    assert read.config["common"]["train"]["optimizer"] == {"name": "SGD"}
    assert read.config["common"]["model"]["kwargs"]["pretrained"] == "weights.pth"
    assert not any("pretrain" in keys for keys in read.unused.values())
    assert "weighted_merge" not in str(read.translated)


def test_pretrain_is_said_to_start_from_scratch() -> None:
    assert translate(published("sequential")).unused[UNUSED["pretrain"]] == ["pretrain"]


def test_the_plain_encoder_has_their_widths(root: Path) -> None:
    options = plan(changed("local", root, **{"common.model.kwargs.backbone": "conv"})).legs[0].net.options
    assert (options.backbone, options.features) == ("plain", (64, 128, 256, 512, 1024))


@pytest.mark.parametrize(("theirs", "ours"), [("bn", "batch"), ("in", "instance"), ("gn", "group")])
def test_norms(theirs: str, ours: str, root: Path) -> None:
    assert plan(changed("local", root, **{"common.model.kwargs.norm": theirs})).legs[0].net.options.norm == ours


def test_one_site_alone_is_told_how_to_become_a_deployment(root: Path) -> None:
    assert any("deployment" in here for here in translate(published("relay_deploy")).translated)
    handoff = {"study": "s"}
    later = changed("relay_deploy", root, **{"current_tasks.mode": "deployment", "current_tasks.handoff": handoff})
    later["current_tasks"]["task_confs"][1]["checkpoint"]["load"] = "task_0/last.ckpt"
    assert plan(later).mode == "deployment"
    assert translate(later).unused[UNUSED["checkpoint.load"]] == ["checkpoint.load"]
    assert not any("deployment" in here for here in translate(later).translated)


MISTAKES: list[tuple[str, str, Any, str]] = [
    ("relay", "common.model.kwargs.num_stage", 2, "num_stages"),
    ("relay", "common.model.kwargs.num_stages", 4, "1, 2, 3"),
    ("relay", "common.model.kwargs.weighted_merge", "yes", "True, False"),
    ("relay", "common.model.kwargs.replay_data_ratio", [1], "half, even"),
    ("relay", "common.model.kwargs.solver_distil_weight", -1, "greater"),
    ("relay", "common.model.kwargs.solver_kwargs", 5, "mapping"),
    ("relay", "common.model.kwargs.solver_kwargs.backbone", "resnet99", "resnet18"),
    ("relay", "common.model.kwargs.solver_kwargs.depth", 3, "unknown key"),
    ("relay", "common.model.kwargs.solver_kwargs.in_channels", 0, "greater than or equal to 1"),
    ("relay", "common.model.kwargs.solver_name", "V-Net", "U-Net"),
    ("relay", "common.model.kwargs.optimizer_conf.X", ADAM, "doublegan"),
    ("relay", "common.model.kwargs.optimizer_conf.M.kwargs.lr", -1, "greater than 0"),
    ("relay", "common.model.kwargs.optimizer_conf.M.lr_scheduler", {"name": "StepLR"}, "cosine"),
    ("relay", "common.strategy.kwargs.freeze_module_names", [], "unknown key"),
    ("relay", "current_tasks.task_confs.1.model.kwargs.solver_kwargs.depth", 3, "unknown key"),
    ("relay", "common.train.joint_training", True, "unknown key"),
    ("sequential", "common.model.kwargs.depth", 3, "unknown key"),
    ("sequential", "common.train.optimizer.lr_scheduler", {"name": "StepLR"}, "cosine"),
    ("sequential", "common.train.solver_num_mimgs", 1, "unknown key"),
]


@pytest.mark.parametrize(
    ("name", "path", "value", "says"), MISTAKES, ids=[m[1].replace("kwargs.", "") for m in MISTAKES]
)
def test_a_mistake_is_said_at_the_path_it_has_in_the_file(
    name: str, path: str, value: Any, says: str, root: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(changed(name, root, **{path: value}))
    said = [problem for problem in caught.value.problems if problem.path == path]
    assert said, caught.value
    assert says in str(said[0])


@pytest.mark.parametrize(
    "path", ["common.model.kwargs.bilinear", "common.model.kwargs.pretrain", "common.train.joint_training"]
)
def test_one_of_their_keys_in_a_config_of_ours_is_unknown(path: str) -> None:
    ours = studies.given(**{path: True})
    assert translate(ours).config == ours
    with pytest.raises(ConfigError, match="unknown key"):
        plan(ours)


def test_given_is_not_changed_and_twice_is_once() -> None:
    config = published("relay")
    once = translate(config).config
    assert config == published("relay")
    assert translate(once).config == once


KEYS = ["common", "model", "kwargs", "name", "strategy", "train", "optimizer", "optimizer_conf", "M", "solver_kwargs"]
KEYS += ["current_tasks", "task_confs", "mode", "checkpoint", "load", "all_tasks_datasets", "num_mimgs", "dataset"]
VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from(["doublegan", "baseline", "conv", "deployment"])
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@settings(max_examples=40)
@given(tree=TREES, at=st.sampled_from(["model", "strategy", "train", "dataset", "checkpoint"]), tasks=TREES)
def test_whatever_yaml_can_say_ends_in_a_plan_or_in_problems(tree: Any, at: str, tasks: Any) -> None:
    for name in ("relay", "joint"):
        config = published(name)
        config["common"][at] = {**config["common"].get(at, {}), **tree} if isinstance(tree, dict) else tree
        config["current_tasks"]["task_confs"] = tasks
        with pytest.raises(ConfigError):  # root_path is nowhere
            plan(config)


def test_relay_train_and_predict_take_the_files(root: Path, tmp_path: Path) -> None:
    for name in ("relay", "relay_test"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(published(name)))
    small = "common.model.kwargs.solver_kwargs.backbone=plain"  # less to write, sign and seal
    here = (f"common.dataset.kwargs.root_path={root}", "common.num_workers=0", small)
    quick = ("common.train.num_mimgs=0.000004", "common.train.batch_size=4", "current_tasks.task_ids=[1,2]")
    done = typed("train", "-c", "relay.yaml", "-n", "a", *here, *quick, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "solver_distil_weight" in done.err
    assert done.err.count("r1_gamma") == 1
    typed("predict", "-c", "relay_test.yaml", "-n", "a", *here, cwd=tmp_path).refused(
        2, "exps/relay_test/a/checkpoints/task_4/last.ckpt", advice="copy"
    )
    place = tmp_path / "exps/relay_test/a/checkpoints/task_4"
    shutil.copytree(tmp_path / "exps/relay/a/checkpoints/task_2", place)
    tested = typed("predict", "-c", "relay_test.yaml", "-n", "a", *here, cwd=tmp_path)
    assert tested.code == 0, tested.err
    assert "Domain4" in tested.out
