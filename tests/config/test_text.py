"""Each word of a YAML file has one meaning, or is refused with a cure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay.config.checking import check
from relay.config.load import read, value_of
from relay.config.names import fault
from relay.config.schema import Train
from relay.config.text import dump, parse, parse_file
from relay.data import DatasetOptions
from relay.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[
            ("1e-3", 0.001),
            ("1e3", 1000.0),
            ("1E-4", 0.0001),
            (".5", 0.5),
            ("1.", 1.0),
            ("16", 16),
            ("-0", 0),
            ("+1", 1),
        ],
        *[("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("2020-01-01", "2020-01-01")],
        *[("'010'", "010"), ('"yes"', "yes"), ("Domain5", "Domain5"), ("a_1", "a_1"), ("y", "y")],
    ],
)
def test_a_word_has_its_value(word: str, value: Any) -> None:
    found = value_of(word, "key")
    assert found == value
    assert type(found) is type(value)


OLD = ["yes", "No", "ON", "off", "010", "08", "-007", "00.5", "1:30", "1:30:20.5", "1_000", "0x10", "0o17", "0b1"]


@pytest.mark.parametrize("word", [*OLD, "1_0.5", "1e999", ".inf", "-.INF", ".nan", "9" * 400])
def test_a_word_with_two_meanings_is_refused_in_files_and_overrides(word: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"common:\n  a: {word}\n  b: [{word}]\n")
    with pytest.raises(ConfigError, match="quote it") as caught:
        read(path, [f"common.c={word}"])
    assert [problem.path for problem in caught.value.problems] == ["common.a", "common.b[0]", "common.c"]
    assert "line 2: " in caught.value.problems[0].allowed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: " + "[" * 3000, "nest more than"),
        ("a: " + "[" * 100_000, "nest more than"),
        ("{a: " * 3000, "nest more than"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{x}: &{x} [{','.join([f'*{y}'] * 10)}]\n" for x, y in
         zip("bcdefgh", "abcdefg", strict=True)), "aliases"),
        ("a: &a [*a]", "or contains itself"),
        ("a: 1\na: 2", "appears twice"),
        ("1: 1\n'1': 2", "appears twice"),
        ("a: !!python/object:os.system {}", "tag"),
        ("on: 1", "quote it"),
        ("null: 1", "a key must be text"),
        ("[a]: 1", "a key must be a word"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("a: \0", "valid YAML"),
        ("\ta: 1", "line 1"),
        ('a: "\\ud800"', "Unicode"),
        ("a: \udc80", "UTF-8"),
        ("<<: 1", "takes a block"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text, "study.yaml")


def test_a_merge_key_goes_below_what_is_there() -> None:
    assert parse("base: &b {x: 1, y: 2}\nnew: {<<: *b, y: 3}", "it")["new"] == {"x": 1, "y": 3}


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    (tmp_path / "huge").write_bytes(b"#" * (2**20 + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("latin", "UTF-8"), ("huge", "at most"), ("pipe", "a pipe"), (".", "folder"), ("no", "No such")):
        with pytest.raises(ConfigError, match=says):
            parse_file(tmp_path / name)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.sampled_from(OLD) | st.text() | st.integers()))
def test_what_is_dumped_is_read_back(tree: dict[str, Any]) -> None:
    keys = {f"k_{key}": value for key, value in tree.items()}
    assert parse(dump(keys), "it") == keys


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("num_epochs", True, "must be a whole number"),
        ("num_epochs", "16", "remove the quotes, write 16"),
        ("num_epochs", 16.0, "write 16"),
        ("gradient_clip", "0.5", "remove the quotes, write 0.5"),
        ("gradient_clip", False, "must be a number"),
        ("precision", "16", "remove the quotes, write 16"),
        ("precision", True, "must be 16"),
        ("loss", {"name": 10}, "quote it, '10'"),
        ("optimizer", {"kwargs": {"lr": 0.1}}, "must be given, beside kwargs"),
    ],
)
def test_no_value_is_turned_into_another(key: str, value: Any, says: str) -> None:
    made, problems = check(Train, {key: value})
    assert made is None
    assert says in str(problems[0])
    assert "did you mean" not in str(problems[0])


def test_lists_are_counted_and_long_values_do_not_hide_what_is_wrong() -> None:
    def told(**other: Any) -> str:
        (problem,) = check(DatasetOptions, {"task_id": 0, "task_name": "a", "num_classes": 2, **other})[1]
        return str(problem)

    assert told(intensity_range=[1]) == "intensity_range = [1]: must have 2 items, not 1"
    assert told(patch_size=[1]) == "patch_size = [1]: must have at least 2 items, not 1"
    assert told(patch_size="1") == "patch_size = '1': must be a list"
    assert told(class_names=["a"] * 40).startswith("class_names: must be 2 different names")
    window = [{"name": "Normalise", "kwargs": {"how": "window", "low": 3, "high": 1}}] * 2
    assert told(steps=window) == "steps: [0] (Normalise): low must be less than high"


def test_a_whole_number_may_be_a_float() -> None:
    made, problems = check(Train, {"num_mimgs": 1, "gradient_clip": 2})
    assert made is not None, problems
    assert (made.num_mimgs, made.gradient_clip) == (1.0, 2.0)


@pytest.mark.parametrize("name", ["", " ", "..", "../a", "a/b", "a\\b", "/a", ".a", "-a", "a.", "CON", "nul.txt", "a:b",
                                  "x" * 101, "a\n", "com1"])  # fmt: skip
def test_a_name_that_is_not_plain(name: str) -> None:
    assert fault(name)


@pytest.mark.parametrize("name", ["run", "lap2", "my run", "a.b-c_1", "Gefäß", "console", "x" * 100])
def test_a_plain_name(name: str) -> None:
    assert fault(name) is None
