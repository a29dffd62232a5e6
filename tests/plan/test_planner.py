"""Every wrong config is told from a right one, all at once, with path, value, what is allowed, nearest key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relay.errors import ConfigError, Problem
from relay.plan import plan
from tests.studies import given, study
from tests.tasks.tiny import changes


def problems(**changes: object) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        plan(given(**changes), "tiny")
    return {p.path: p for p in caught.value.problems}


def test_right_config_gives_legs_that_start_from_one_another() -> None:
    legs = study().legs
    assert [(leg.number, leg.task_name, leg.folder, leg.start) for leg in legs] == [
        (1, "clinic_a", "task_1", None),
        (2, "clinic_b", "task_2", "task_1"),
    ]


def test_any_order_and_several_laps_are_one_way() -> None:
    legs = study(**{"current_tasks.task_ids": [2, 1], "current_tasks.laps": 3}).legs
    folders = ["task_2", "task_1", "task_2_lap2", "task_1_lap2", "task_2_lap3", "task_1_lap3"]
    assert [leg.number for leg in legs] == [1, 2, 3, 4, 5, 6]
    assert [leg.task_name[-1] for leg in legs] == list("bababa")
    assert [leg.folder for leg in legs] == folders
    assert [leg.start for leg in legs] == [None, *folders[:-1]]
    assert len({id(leg.strategy) for leg in legs}) == 6


@pytest.mark.parametrize("name", ["local", "joint"])
def test_what_starts_from_nothing_goes_round_once(name: str) -> None:
    once, thrice = (study(**{"common.strategy.name": name, "current_tasks.laps": laps}).legs for laps in (1, 3))
    assert [leg.folder for leg in once] == [leg.folder for leg in thrice]


def test_with_laps_what_a_leg_loads_is_the_leg_before() -> None:
    laps = {"current_tasks.laps": 2, "current_tasks.task_ids": [2, 1]}
    own = {"checkpoint": {"save": {"dir": "south"}, "load": None}}
    said = {2: own, 1: {"checkpoint": {"load": "south/last.ckpt"}}}
    legs = study(**laps, **{"current_tasks.task_confs": said}).legs
    assert [leg.start for leg in legs] == [None, "south", "task_1", "south_lap2"]
    for task_id, load in ((2, "task_1"), (2, "task_2"), (1, None), (1, "task_1"), (1, "task_2_lap2")):
        found = problems(**laps, **{"current_tasks.task_confs": {task_id: {"checkpoint": {"load": load}}}})
        (problem,) = found.values()
        assert problem.path == f"current_tasks.task_confs.{task_id}.checkpoint.load"
        assert "left out with laps" in problem.allowed


def test_folders_of_laps_are_apart() -> None:
    clash = {2: {"checkpoint": {"save": {"dir": "task_1_lap2"}}}}
    assert study(**{"current_tasks.task_confs": clash}).legs
    found = problems(**{"current_tasks.laps": 2, "current_tasks.task_confs": clash})
    assert "must differ" in found["current_tasks.task_confs"].allowed


def test_task_is_merged_over_dataset_over_common() -> None:
    changes = {
        "common.dataset.kwargs.count": 30,
        "all_tasks_datasets.1.kwargs.count": 40,
        "current_tasks.task_confs": {2: {"dataset": {"kwargs": {"repeats": 5}}, "train": {"batch_size": 2}}},
    }
    first, second = study(**changes).legs
    assert (first.pool[0].options.count, first.train.batch_size) == (30, 8)
    assert first.conf.dataset.kwargs["repeats"] == 2
    assert (second.pool[0].options.count, second.train.batch_size) == (40, 2)
    assert second.conf.dataset.kwargs["repeats"] == 5


def test_task_conf_changes_the_data_of_its_own_leg() -> None:
    legs = study(**{"current_tasks.task_confs": {2: {"dataset": {"kwargs": {"repeats": 5}}}}}).legs
    assert [leg.data.repeats for leg in legs] == [2, 5]


@pytest.mark.parametrize(
    ("path", "value", "allowed", "nearest"),
    [
        ("common.train.batch_sze", 4, "unknown key", "batch_size"),
        ("common.train.batch_size", 0, "greater than or equal to 1", None),
        ("common.train.batch_size", "many", "a whole number", None),
        ("common.train.precision", 8, "16, 32, 64, 'bf16' or 'auto'", None),
        ("common.model.kwargs.norm", "grop", "'group', 'instance' or 'batch'", "group"),
        ("common.model.name", "UNet", "unknown name", None),
        ("common.strategy.name", "relai", "Did you mean 'relay'", None),
        ("common.train.loss", {"name": "DiceCEE"}, "Did you mean 'DiceCE'?", None),
        ("common.train.optimizer", {"name": "Adam", "kwargs": {"lr": -1}}, "greater than 0", None),
        ("common.dataset.kwargs.intensity_range", [1, -1], "less than", None),
        ("common.dataset.kwargs.augment", {"train": "flup"}, "flup", None),
        ("common.random_seed", -1, "greater than or equal to 0", None),
        ("current_tasks.task_ids", [1, 3], "no data set", None),
        ("current_tasks.task_ids", [9, 1, 2], "no data set", None),
        ("current_tasks.task_ids", [1, 1], "twice", None),
        ("current_tasks.task_confs", {2: {"random_seed": 3}}, "belongs in common", None),
        (
            "current_tasks.task_confs",
            {2: {"checkpoint": {"load": "/mnt/usb/task_1/last.ckpt"}}},
            "is not an earlier leg",
            None,
        ),
        ("all_tasks_datasets.0.kwargs.slices", "axial", "must be the same for all data sets of a study", None),
        ("common.dataset.kwargs.steps", [{"name": "Resample"}], "(Resample): spacing = None: must be given", None),
        ("all_tasks_datasets.0.kwargs.task_name", "M\u00fcnster", "match", None),
        ("all_tasks_datasets.0.kwargs.task_name", "n" * 41, "match", None),
        ("all_tasks_datasets.0.kwargs.task_name", "CLINIC_B", "two have this task_name", None),
        ("common.train.batch-size", 4, "common.train.batch-size", "batch_size"),
        ("current_tasks.task_ids", [], "at least 1", None),
        ("current_tasks.laps", 0, "greater than or equal to 1", None),
        ("current_tasks.laps", 1.5, "a whole number", None),
        ("current_tasks.mode", "deployed", "'simulation' or 'deployment'", "deployment"),
        ("current_tasks.task_confs", {9: {}}, "no data set", None),
        ("current_tasks.task_confs", {1: {"checkpoint": {"load": "task_2"}}}, "points forward", None),
        (
            "current_tasks.task_confs",
            {2: {"checkpoint": {"load": "task_2/last.ckpt"}}},
            "points forward",
            None,
        ),
        ("current_tasks.task_confs", {2: {"checkpoint": {"load": "task1"}}}, "is not an earlier leg", "task_1"),
        ("current_tasks.task_confs", {2: {"checkpoint": {"save": {"dir": "../up"}}}}, "pattern", None),
        ("current_tasks.task_confs", {2: {"checkpoint": {"save": {"dir": "task_1"}}}}, "must differ", None),
        ("all_tasks_datasets.0.kwargs.task_id", 2, "is taken by", None),
        ("all_tasks_datasets.1.kwargs.channels", 1, "must be the same", None),
        ("common.model.kwargs.num_classes", 4, "must be 3, as in the data set", None),
        ("common.model.kwargs.spatial_dims", 3, "must be 2", None),
        ("common.predict.postprocess", [{"name": "fill_holes", "kwargs": {"classes": [3]}}], "are 1 to 2", None),
        ("common.train.num_mimgs", 0.1, "exactly one budget", None),
        ("extra", {}, "unknown key", None),
        ("results", {"metrics": ["dice"]}, "match the pattern", None),
        ("results", {"metrics": ["no_such_module:Mine"]}, "No module named 'no_such_module'", None),
        ("results", {"metrics": ["json:loads"]}, "is no plug-in: it has no measure", None),
        ("results", {"report_sections": ["json:no_such"]}, "has no attribute 'no_such'", None),
        ("results", {"sections": []}, "unknown key", None),
        ("all_tasks_datasets.0.kwargs.augment", {"train": "flips"}, "Did you mean 'flip'?", None),
    ],
)
def test_wrong_value_is_reported(path: str, value: object, allowed: str, nearest: str | None) -> None:
    found = problems(**{path: value})
    assert any(allowed in str(problem) for problem in found.values()), found
    assert nearest is None or any(problem.nearest == nearest for problem in found.values()), found


def test_all_problems_come_together_each_at_its_own_layer() -> None:
    found = problems(
        **{
            "common.train.batch_size": 0,
            "common.model.kwargs.norm": "none",
            "common.train.optimizer": {"name": "Adam", "kwargs": {"learning_rate": 1}},
            "all_tasks_datasets.1.kwargs.count": "x",
            "current_tasks.task_confs": {2: {"train": {"precision": 3}}},
        }
    )
    assert set(found) == {
        "common.train.batch_size",
        "common.model.kwargs.norm",
        "common.train.optimizer.kwargs.learning_rate",
        "all_tasks_datasets[1].kwargs.count",
        "current_tasks.task_confs.2.train.precision",
    }


def test_missing_folder_is_one_problem_and_names_the_folder(tmp_path: object) -> None:
    kwargs = {"num_classes": 2, "root_path": f"{tmp_path}/none"}
    sets = [{"kwargs": {"task_id": 1, "task_name": "a", "img_folder": "a"}}]
    found = problems(
        **{
            "common.dataset": {"name": "folder", "kwargs": kwargs},
            "all_tasks_datasets": sets,
            "current_tasks.task_ids": [1],
        }
    )
    assert list(found) == ["common.dataset.kwargs.root_path"]
    assert "no such folder" in str(found["common.dataset.kwargs.root_path"])


def test_sites_whose_images_are_here_can_be_run_and_the_message_says_how(tmp_path: Path) -> None:
    for name in ("a", "c"):
        for part in ("image", "mask"):
            (tmp_path / name / part).mkdir(parents=True)
    sets = [{"kwargs": {"task_id": i, "task_name": n, "img_folder": n}} for i, n in enumerate("abc", 1)]
    config = {
        "common.dataset": {"name": "folder", "kwargs": {"num_classes": 2, "root_path": str(tmp_path)}},
        "all_tasks_datasets": sets,
        "current_tasks.task_ids": [1, 2, 3],
    }
    with pytest.raises(ConfigError, match="no such folder") as caught:
        plan(given(**config), "tiny")
    assert caught.value.advice().endswith("whose images are here: 'current_tasks.task_ids=[1,3]'")
    assert [leg.task_id for leg in plan(given(**{**config, "current_tasks.task_ids": [1, 3]}), "tiny").legs] == [1, 3]


def test_deployment_is_one_leg_that_starts_from_what_it_receives() -> None:
    found = problems(**{"current_tasks.mode": "deployment"})
    assert "exactly one task" in found["current_tasks.task_ids"].allowed
    assert "study, key, receive, send" in found["current_tasks.handoff"].allowed
    deploy = {"current_tasks.mode": "deployment", "current_tasks.task_ids": [2]}
    assert "the roster's order" in problems(**deploy, **{"current_tasks.laps": 2})["current_tasks.laps"].allowed
    for load in (None, "task_1", "/mnt/usb/handover"):
        found = problems(**deploy, **{"common.checkpoint.load": load})
        assert "left out in a deployment" in found["common.checkpoint.load"].allowed
    made = study(**deploy, **{"current_tasks.handoff": {"study": "vessels", "key": "site"}})
    assert [leg.start for leg in made.legs] == [None]
    assert made.handoff is not None
    assert made.handoff.study == "vessels"


def test_joint_is_one_leg_over_all_sites_and_never_deployed() -> None:
    joint = study(**{"common.strategy.name": "joint"})
    assert [leg.task_name for leg in joint.legs] == ["all"]
    assert len(joint.legs[0].pool) == 2
    found = problems(
        **{"common.strategy.name": "joint", "current_tasks.mode": "deployment", "current_tasks.task_ids": [1]}
    )
    assert "deployment" in found["common.strategy.name"].allowed


def test_strategy_from_scratch_does_not_look_at_load() -> None:
    confs = {2: {"checkpoint": {"load": "task_1"}}}
    legs = study(**{"common.strategy.name": "local", "current_tasks.task_confs": confs}).legs
    assert [leg.start for leg in legs] == [None, None]


def test_scientific_config_leaves_out_what_does_not_change_the_result() -> None:
    plain = study().legs[0].scientific()
    assert study(**{"common.num_workers": 2, "common.train.log_every_n_steps": 5}).legs[0].scientific() == plain
    assert study(**{"common.train.batch_size": 4}).legs[0].scientific() != plain


def test_checking_a_config_imports_no_torch() -> None:
    code = (
        "import sys; from tests.studies import TINY; from relay.plan import plan; plan(TINY, 'tiny'); "
        "assert not {'torch', 'monai', 'imgaug', 'SimpleITK', 'pytorch_lightning'} & set(sys.modules)"
    )
    code = code.replace("from tests.studies import TINY", f"TINY = {given()!r}")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_external_test_set_is_never_trained_on() -> None:
    path = "all_tasks_datasets[0].kwargs.split"
    found = problems(**{"all_tasks_datasets.0.kwargs.split": "test"})
    assert "nothing to train on" in found[path].allowed
    external = {"all_tasks_datasets.0.kwargs.split": "test", "current_tasks.task_ids": [2]}
    assert [leg.task_name for leg in study(**external).legs] == ["clinic_b"]
    pooled = study(**external, **{"common.strategy.name": "joint"}).legs[0].pool
    assert [dataset.options.task_name for dataset in pooled] == ["clinic_b"]


SEGRESNET = {"name": "monai:SegResNet", "kwargs": {"init_filters": 8}}
VIT = {"name": "monai:ViT", "kwargs": {"patch_size": 8}}


@pytest.mark.parametrize(
    ("model", "data", "axes", "size"),
    [
        (SEGRESNET, {}, 2, None),
        (SEGRESNET, {"img_size": None, "patch_size": [16, 16, 16]}, 3, None),
        (VIT, {"img_size": [32, 48]}, 2, [32, 48]),
    ],
)
def test_a_net_of_a_library_takes_what_the_data_set_says(
    model: object, data: dict[str, object], axes: int, size: list[int] | None
) -> None:
    options = study(**{"common.model": model}, **{f"common.dataset.kwargs.{k}": v for k, v in data.items()}).legs[0].net
    found = options.options
    assert (found.in_channels, found.num_classes, found.spatial_dims) == (3, 3, axes)
    assert getattr(found, "img_size", None) == size


def test_a_net_for_one_size_needs_it() -> None:
    found = problems(**{"common.model": VIT, "common.dataset.kwargs.img_size": None})
    assert "must be given, or img_size or patch_size" in found["common.model.kwargs.img_size"].allowed
    found = problems(**{"common.model": VIT, "common.dataset.kwargs.img_size": [32, 36]})
    assert found["common.dataset.kwargs.img_size"].allowed.startswith("must be multiples of 8, 8: monai:ViT")
    wrong = {"name": "monai:ViT", "kwargs": {"patch_size": 8, "img_size": [16, 16]}}
    found = problems(**{"common.model": wrong, "common.dataset.kwargs.img_size": [32, 32]})
    assert found["common.model.kwargs.img_size"].allowed == "must be [32, 32], as in the data set, or left out"
    assert set(problems(**{"common.model": {"name": "monai:SegRes"}})) == {"common.model.name"}


def test_one_warm_up_is_enough() -> None:
    cosine = {"name": "cosine", "kwargs": {"warmup_steps": 5}}
    found = problems(**{"common.train.warmup": 3, "common.train.scheduler": cosine})
    assert found["common.train.warmup"].allowed == "must be left out: the scheduler has a warmup_steps of its own"
    study(**{"common.train.warmup": 0.1, "common.train.scheduler": {"name": "cosine"}})
    for wrong in (1.5, -1, "short"):
        assert "common.train.warmup" in problems(**{"common.train.warmup": wrong})


def test_what_is_done_to_masks_is_checked_first() -> None:
    steps = [{"name": "fill_holes"}, {"name": "minimum_size", "kwargs": {"voxel": 5}}, {"name": "largest"}]
    found = problems(**{"common.predict.postprocess": steps})
    assert "did you mean 'voxels'" in found["common.predict.postprocess[1]"].allowed
    assert "unknown name 'largest'" in found["common.predict.postprocess[2]"].allowed
    assert set(found) == {"common.predict.postprocess[1]", "common.predict.postprocess[2]"}
    classes = {"name": "fill_holes", "kwargs": {"classes": [1, 9]}}
    found = problems(**{"common.predict.postprocess": [classes]})
    assert "classes are 1 to" in found["common.predict.postprocess[0].kwargs.classes"].allowed
    found = problems(**changes("regression", **{"common.predict.postprocess": steps[:1]}))
    assert "is for masks" in found["common.predict.postprocess"].allowed
    assert "common.predict.mirror" in problems(**{"common.predict.mirror": "yes"})
