"""What people read when something is wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from relay import errors
from relay.errors import ConfigError, Problem, RelayError, first_line, killed, nearest, plain, some
from tests.rooms import ROOT


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("RelayError", 1),
        ("TrainingError", 1),
        ("UserError", 2),
        ("DataError", 2),
        ("HandoverError", 2),
        ("ChangedConfigError", 2),
        ("Interrupted", 130),
    ],
)
def test_each_has_its_exit_code_and_an_advice_of_its_own_or_the_callers(kind: str, code: int) -> None:
    cls = getattr(errors, kind)
    plain, told = cls("the disk is full"), cls("the disk is full", "Empty it.")
    assert isinstance(plain, RelayError)
    assert str(plain) == str(told) == "the disk is full"
    assert (plain.exit_code, told.exit_code) == (code, code)
    assert plain.advice().endswith(".")
    assert told.advice() == "Empty it."


def test_a_problem_tells_path_value_what_is_allowed_and_the_nearest() -> None:
    assert str(Problem("common.train.batch_sze", 4, "unknown key", "batch_size")) == (
        "common.train.batch_sze = 4: unknown key; did you mean 'batch_size'?"
    )
    assert str(Problem("a.b", "x", "must be a number")) == "a.b = 'x': must be a number"


def test_a_config_error_counts_and_lists_all_problems() -> None:
    first, second = Problem("a", 1, "must be 2"), Problem("b", None, "must be given")
    assert str(ConfigError([first], "study.yaml")) == "1 problem in study.yaml:\n  - a = 1: must be 2"
    both = ConfigError([first, second])
    assert both.problems == (first, second)
    assert str(both).splitlines() == ["2 problems in the config:", f"  - {first}", f"  - {second}"]
    assert "batch_size" not in both.advice()
    told = ConfigError([Problem("common.train.batch_size", 0, "must be 1 or more")]).advice()
    assert told.endswith("after the flags: common.train.batch_size=VALUE")
    assert ConfigError([Problem("-g", "x", "must be numbers")]).advice() == "Correct the options of the command."
    assert both.exit_code == 2


@given(st.text(st.characters()))
def test_plain_text_can_be_printed_and_nothing_is_lost(text: str) -> None:
    assert plain(text).isprintable()
    assert [plain(line) for line in text.split("\n")] == plain(text, keep="\n").split("\n")
    assert text.isprintable() <= (plain(text) == text)


def test_plain_text_shows_what_it_hides() -> None:
    assert plain("Gefäß\x1b[2J\r\u202e\udc80 ok") == r"Gefäß\x1b[2J\r\u202e\udc80 ok"


@pytest.mark.parametrize(
    ("word", "found"), [("realy", "relay"), ("Joint", "joint"), ("relay", "relay"), ("zzz", None), ("", None)]
)
def test_nearest(word: str, found: str | None) -> None:
    assert nearest(word, ["relay", "joint", "local"]) == found


def test_nothing_is_near_where_nothing_is_known() -> None:
    assert nearest("relay", []) is None


def test_problems_with_a_cure_of_their_own_come_with_it_and_the_others_with_the_general_one() -> None:
    own = Problem("common.train", {}, "needs one budget", cure="Keep one.")
    assert ConfigError([own, own]).advice() == "Keep one."
    both = ConfigError([own, Problem("common.train.batch_size", 0, "must be 1 or more")]).advice()
    assert both.startswith("Keep one. Correct the file, or override")
    assert both.endswith("common.train.batch_size=VALUE")


def test_a_long_list_is_cut_and_counted() -> None:
    assert some([]) == ""
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some(list("abc"), 2, "; ") == "a; b; and 1 more"


def test_a_killed_process_is_told_in_one_way() -> None:
    error = killed("predicts", "Use fewer.")
    assert (str(error), error.advice(), error.exit_code) == (
        "a process that predicts was killed; it may have run out of memory",
        "Use fewer.",
        1,
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a size of 3\nat line 7"), "a size of 3"),
        (ValueError("\n  a size of 3  \n"), "a size of 3"),
        (MemoryError(), "MemoryError"),
        (ValueError(" \n "), "ValueError"),
    ],
)
def test_of_another_packages_error_the_first_line_is_told_or_its_name(error: Exception, said: str) -> None:
    assert first_line(error) == said


def test_the_first_line_of_an_error_is_taken_in_one_place() -> None:
    first = re.compile(r"str\(error\).*splitlines\(\)(?!\[-1])")
    found = [path for path in ROOT.rglob("*.py") if first.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "errors.py"]
