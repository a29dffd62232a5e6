"""Configs are found, layered and resolved; what can't be is said with its path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from relay.cli.configs import find
from relay.config.load import locate, read
from relay.errors import ConfigError, UserError

MINIMAL = """\
paths: {here: /data}
common: {dataset: {kwargs: {root_path: "${paths.here}/fundus"}}, train: {batch_size: 8}}
all_tasks_datasets: [{kwargs: {task_id: 1}}]
current_tasks: {task_ids: [1]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    path = tmp_path / "configs" / "mine" / "study.yaml"
    path.write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    return path


def test_name_file_and_installed_configs_are_found(config: Path) -> None:
    assert locate("mine/study")[1] == "mine/study"
    assert locate(str(config)) == (config, "mine/study")
    other = config.parents[2] / "other.yaml"
    other.write_text(MINIMAL)
    assert locate("other.yaml") == (Path("other.yaml"), "other")
    assert locate("fundus/relay")[0].is_file()
    for spelling in ("configs/mine/study", "configs/mine/study.yaml", str(config.with_suffix(""))):
        assert locate(spelling)[1] == "mine/study"


def test_unknown_name_gives_the_nearest(config: Path) -> None:
    with pytest.raises(UserError) as caught:
        locate("mine/studie")
    assert "'mine/study'" in caught.value.advice()
    with pytest.raises(UserError, match=r"no config 'none\.yaml'"):
        locate("none.yaml")


def test_overrides_go_over_local_paths_over_the_file(config: Path) -> None:
    assert read(config)["common"]["dataset"]["kwargs"]["root_path"] == "/data/fundus"
    Path("paths.local.yaml").write_text("paths: {here: /mnt}")
    assert read(config)["common"]["dataset"]["kwargs"]["root_path"] == "/mnt/fundus"
    told = read(config, ["paths.here=/usb", "common.train.batch_size=2", "all_tasks_datasets[0].kwargs.task_id=4"])
    assert told["common"]["dataset"]["kwargs"]["root_path"] == "/usb/fundus"
    assert told["common"]["train"]["batch_size"] == 2
    assert told["all_tasks_datasets"][0]["kwargs"]["task_id"] == 4


def test_an_override_takes_the_place_of_a_whole_block(config: Path) -> None:
    told = read(config, ["common.train={num_epochs: 2}"])
    assert told["common"]["train"] == {"num_epochs": 2}


def test_environment_is_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATA", "/env")
    assert (
        read(config, ["paths.here=${oc.env:RELAY_DATA}"])["common"]["dataset"]["kwargs"]["root_path"] == "/env/fundus"
    )


def test_every_reference_to_nothing_is_reported(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config, ["paths.here=${oc.env:RELAY_NOT_SET}", "common.note=${nothing.here}"])
    assert {p.path for p in caught.value.problems} >= {
        "paths.here",
        "common.note",
        "common.dataset.kwargs.root_path",
    }


@pytest.mark.parametrize("text", ["common: [1", "- 1\n- 2\n", "\tcommon: 1"])
def test_what_is_no_config_is_refused(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(ConfigError):
        read(config)


@pytest.mark.parametrize("override", ["common.train=[1,2", "common.train=a: b: c", "all_tasks_datasets[9].x=1"])
def test_override_that_is_no_yaml_or_leads_nowhere(config: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        read(config, [override])


def test_override_must_be_key_value(config: Path) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        read(config, ["common.train.batch_size"])


words = st.text("abcdefgh_", min_size=1, max_size=8).filter(lambda w: w.strip("_"))
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@given(tree=st.dictionaries(words, trees, min_size=1, max_size=4))
def test_reading_gives_back_what_was_written(tree: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("round") / "tree.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert read(path) == tree


DEPLOYED = """{mode: deployment, task_ids: [1], task_confs: {}, handoff: {study: fundus, key: "${paths.home}",
    receive: "${paths.stick}", send: "${paths.stick}"}}"""
SMALL = [
    "common.random_seed=1",
    "common.model.kwargs.features=[8, 16, 32, 32, 32]",
    "common.train.num_epochs=null",
    "common.train.check_val_every_n_epoch=1000",
]
EXTENDING = {
    "others/joint": (
        "fundus/relay",
        ["common.strategy={name: joint}", "current_tasks.task_ids=[1]", "current_tasks.task_confs={}"],
    ),
    "others/local": ("fundus/relay", ["common.strategy={name: local}", "current_tasks.task_confs={}"]),
    "others/sequential": ("fundus/relay", ["common.strategy={name: sequential}", "current_tasks.task_confs={}"]),
    "fundus/relay_test": ("fundus/relay", ["current_tasks.task_ids=[4]", "current_tasks.task_confs={}"]),
    "fundus/relay_deploy": (
        "fundus/relay",
        ["paths.home=~/.relay", "paths.stick=/media/stick", f"current_tasks={DEPLOYED}"],
    ),
    "evidence/synthetic": (
        "demo",
        [
            *SMALL,
            "common.dataset.kwargs.size=48",
            "common.dataset.kwargs.img_size=[48, 48]",
            "common.dataset.kwargs.count=80",
            "common.train.num_mimgs=0.0024",
            "common.train.optimizer.kwargs.lr=0.004",
        ],
    ),
    "evidence/vessels": (
        "vessels/relay",
        [
            *SMALL,
            "common.dataset.kwargs.repeats=8",
            "common.train.num_mimgs=0.0016",
            "common.train.batch_size=8",
            "common.train.optimizer.kwargs.lr=0.003",
        ],
    ),
    "evidence/vessels_small": (
        "evidence/vessels",
        [
            "common.dataset.kwargs.repeats=32",
            "common.dataset.kwargs.val_fraction=0.25",
            "common.train.num_mimgs=0.008",
            r"all_tasks_datasets[0].kwargs.test_regex=^(?!2[1-7]_)",
            r"all_tasks_datasets[1].kwargs.test_regex=^(?!Image_0[1-4])",
            r"all_tasks_datasets[2].kwargs.test_regex=^(?!0[12]_|03_h)",
        ],
    ),
}
"""Of each of our configs that extends another: which, and all in which they differ."""


@pytest.mark.parametrize("name", EXTENDING)
def test_our_configs_differ_from_what_they_extend_in_this_alone(name: str) -> None:
    base, changes = EXTENDING[name]
    assert read(locate(name)[0]) == read(locate(base)[0], changes)


def test_no_other_config_of_ours_extends_one() -> None:
    root = Path(__file__).parents[2] / "configs"
    extending = {
        p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.yaml") if "extends:" in p.read_text()
    }
    assert extending == set(EXTENDING)


def test_a_chain_is_merged_from_its_end(config: Path) -> None:
    base, middle, top = (config.with_name(f"{name}.yaml") for name in ("base", "middle", "top"))
    base.write_text(
        "paths: {here: /data}\n"
        "common: {strategy: {name: relay, kwargs: {replay: 0.5}}, model: {name: U-Net, kwargs: {norm: group}},"
        ' root: "${paths.here}", train: {batch_size: 8, num_epochs: 2}}\n'
        "all_tasks_datasets: [{kwargs: {task_id: 1}}, {kwargs: {task_id: 2}}]\n"
        "current_tasks: {task_ids: [1, 2], task_confs: {1: {random: 1}}}\n"
    )
    middle.write_text("extends: base\ncommon: {train: {batch_size: 4}, strategy: {name: local}}\n")
    top.write_text(
        "extends: middle.yaml\npaths: {here: /top}\nall_tasks_datasets: [{kwargs: {task_id: 1}}]\n"
        "common: {model: {kwargs: {norm: batch}}}\ncurrent_tasks: {task_confs: {}}\n"
    )
    assert read(top) == {
        "paths": {"here": "/top"},
        "common": {
            "strategy": {"name": "local"},  # another name: the options of relay mean nothing to it
            "model": {"name": "U-Net", "kwargs": {"norm": "batch"}},  # the same name: the block is merged
            "root": "/top",
            "train": {"batch_size": 4, "num_epochs": 2},
        },
        "all_tasks_datasets": [{"kwargs": {"task_id": 1}}],  # a list is replaced
        "current_tasks": {"task_ids": [1, 2], "task_confs": {}},  # an empty block empties
    }
    Path("paths.local.yaml").write_text("paths: {here: /mnt}")
    assert read(top)["common"]["root"] == "/mnt"
    assert read(top, ["paths.here=/usb"])["common"]["root"] == "/usb"
    top.write_text("extends: middle.yaml\n")
    assert read(top) == read(middle)
    top.write_text("extends: fundus/relay\n")  # the name of an installed one
    assert read(top) == read(locate("fundus/relay")[0], ["paths.here=/mnt"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: studie", "extends = 'studie': no config 'studie' .* nor beside .*top.yaml"),
        ("extends: [study]", "extends = .*: must be the name of one config"),
        ("extends: null", "extends = None: must be the name of one config"),
        ("extends: top", r"extends = 'top': leads back .*top\.yaml → .*top\.yaml"),
        (
            "extends: back",
            r"extends = 'top': leads back .*top\.yaml → .*back\.yaml → .*top\.yaml.* \(in .*back\.yaml\)",
        ),
        ("extends: broken", r"common.a = 'yes': line 1: is true or false to some.* \(in .*broken\.yaml\)"),
        ("extends: listed", r"listed\.yaml = 'list': must be a mapping of blocks"),
        ("extends: .", "extends = '.': '.' is not a file"),
    ],
)
def test_what_can_not_be_extended_is_refused(config: Path, text: str, said: str) -> None:
    top = config.with_name("top.yaml")
    top.write_text(text)
    config.with_name("back.yaml").write_text("extends: top")
    config.with_name("broken.yaml").write_text("common: {a: yes}")
    config.with_name("listed.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=said) as caught:
        read(top)
    if text == "extends: studie":
        assert "'mine/study'" in caught.value.advice()


def test_extends_stands_in_a_config_alone(config: Path) -> None:
    with pytest.raises(ConfigError, match="extends = 'demo': can't be overridden"):
        read(config, ["extends=demo"])
    Path("paths.local.yaml").write_text("extends: demo")
    with pytest.raises(ConfigError, match=r"extends = 'demo': belongs in a config.*\(in paths\.local\.yaml\)"):
        read(config)
    Path("paths.local.yaml").write_text("paths: {here: yes}")
    with pytest.raises(ConfigError, match=r"paths\.here = 'yes': line 1.*\(in paths\.local\.yaml\)"):
        read(config)


def test_a_problem_names_the_file_that_its_value_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("extends: demo\ncommon: {train: {batch_size: 0}}")
    Path("top.yaml").write_text("extends: base\ncommon: {train: {num_epochs: -1}, random_seed: -2}")
    Path("paths.local.yaml").write_text("common: {num_workers: -3}")
    with pytest.raises(ConfigError) as caught:
        find("top.yaml", ["common.random_seed=-4"]).plan()
    files = {problem.path: problem.file for problem in caught.value.problems}
    assert files == {
        "common.train.batch_size": "base.yaml",
        "common.train.num_epochs": None,
        "common.random_seed": None,
        "common.num_workers": "paths.local.yaml",
    }
    assert "in top" in str(caught.value)
    assert "(in base.yaml)" in str(caught.value)


def test_an_absolute_path_is_not_said_to_be_missing_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^there is no file '{re.escape(str(tmp_path))}/none.yaml'$"):
        locate(str(tmp_path / "none.yaml"))
    (tmp_path / "mine.yaml").write_text(f"extends: {tmp_path}/none.yaml\n")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "mine.yaml")
    assert [(p.path, p.allowed) for p in caught.value.problems] == [
        ("extends", f"there is no file '{tmp_path}/none.yaml'")
    ]
