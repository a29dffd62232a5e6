"""Configs are found, layered and resolved; what can't be is said with its path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

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
