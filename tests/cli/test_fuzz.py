"""Whatever is typed ends in one message and an exit code."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.cli import top
from tests.cli.typed import typed

WORDS = st.sampled_from(["-c", "-n", "-g", "-s", "demo", "x.yaml", "..", "../../oops", "0,", "--received", "="]) | (
    st.sampled_from(["common.train.batch_size=010", "a..b=1", "common=[", "-h"])
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(["train", "predict", "rehearse"]),
    words=st.lists(WORDS | TEXT, max_size=5),
    yaml=TEXT | st.sampled_from(["a: ${", "common: [1]", "a: ${b}\nb: ${a}", "common: {a: ???}", "[" * 3000]),
)
def test_whatever_is_typed(command: str, words: list[str], yaml: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml, encoding="utf-8", newline="")
    # -g no stands last, so that nothing is ever trained
    done = typed(command, *words, "-c", "x.yaml", "-g", "no", cwd=tmp_path)
    assert done.code in {0, 1, 2, 3, 130}
    assert done.code == 0 or "what to do:" in done.err or "Usage:" in done.err
    assert "Traceback" not in done.out + done.err
    assert "unexpected" not in done.err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 1, "Change its permissions"),
        (OSError(errno.EROFS, "Read-only file system"), 1, "can only be read"),
        (MemoryError(), 1, "not enough memory"),
        (RecursionError("too deep"), 1, "unexpected RecursionError: too deep"),
        (KeyError("x"), 1, "fault of relay"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_nobody_expected(error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise error

    with pytest.raises(typer.Exit) as left:
        top.command(broken)()
    assert left.value.exit_code == code
    said = capsys.readouterr().err
    assert says in said
    assert "what to do:" in said
    assert "Traceback" not in said
