"""Whatever is typed ends in one message and an exit code."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings, strategies as st

from relay import registry
from relay.cli import top
from relay.cli.app import app
from relay.errors import UserError
from relay.trust import request as requests
from tests.cli.typed import typed
from tests.relays import World

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
    assert "error: unexpected" not in done.err  # a parser of YAML may say it, too


# -- every command, with every option ----------------------------------------------------------------------------------


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that can be typed: a new command is among them without being listed anywhere."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield path, group


ALL = dict(commands(typer.main.get_command(app)))
PLACES = [
    "absent",
    "folder",
    "empty",
    "text",
    "binary",
    "closed",
    "pipe",
    "dangling",
    "loop",
    "x.yaml",
    "masks",
    ".",
    "..",
]
"""Every kind of thing that a path may name."""
RIGHT = ["vessels", "north,south", "south", "1", "2", "roster", "bundle", "stick", "home", "request", "invitation"]
"""What is right somewhere, so that a command gets further."""
ODD = [
    "",
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    str(2**70),
    "1.5",
    "no",
    "a,,b",
    "a=b",
    "\x1b[31m",
    "x" * 300,
    "é\n",
    "ü" * 300,
    "[",
]
VALUES = (
    st.sampled_from(PLACES) | st.sampled_from(RIGHT) | st.sampled_from(ODD) | TEXT.filter(lambda text: "\0" not in text)
)


@st.composite
def typings(draw: Any, command: Any) -> list[str]:
    """Arguments for a command: each of its own options, or not, with any value; at times one too many."""
    options, words = [], []
    for param in command.params:
        if param.name == "selftest":  # it trains for a minute
            continue
        many = 3 if param.multiple or param.nargs == -1 else 1
        wanted = draw(st.integers(1 if param.required and draw(st.integers(0, 4)) else 0, many))
        for _ in range(wanted):
            if param.param_type_name == "argument":
                words.append(draw(VALUES))
            elif getattr(param, "is_flag", False):
                options.append(param.opts[0])
            else:
                options += [draw(st.sampled_from(param.opts)), draw(VALUES)]
    if "help" not in options and any("--gpus" in param.opts for param in command.params):
        options += ["--gpus", "no"]  # the last one counts: nothing is ever trained
    return [*options, *(["--"] if draw(st.booleans()) else []), *words]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can be named in it, and the homes of a study."""
    folder = tmp_path_factory.mktemp("typed")
    world = World(folder)
    world.make(1)
    (folder / "south").rename(folder / "home")
    world.bundle(1).rename(folder / "bundle")
    (folder / "roster").write_bytes(world.rosters[1])
    (folder / "invitation").write_bytes(requests.invite(world.coordinator, "vessels"))
    (folder / "request").write_bytes(b"{}")
    for name in ("folder", "masks"):
        (folder / name).mkdir()
    (folder / "empty").touch()
    (folder / "text").write_text("a,b\n1,2\n")
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "closed").write_text("secret")
    (folder / "closed").chmod(0)
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "x.yaml").write_text("common: {}\n")
    return folder


def missing(*_: Any) -> Path:
    raise UserError("relay's own wheel can't be built here", "Build it elsewhere.")


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What lies in a folder, as far as a change of it can be seen; but for locks, whose empty files stay."""
    found = {str(path): path.lstat() for path in folder.rglob("*") if path.suffix != ".lock"}
    return {
        path: (at.st_mode, *((0, 0) if stat.S_ISDIR(at.st_mode) else (at.st_mtime_ns, at.st_size)))
        for path, at in found.items()
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("path", ALL, ids=" ".join)
@settings(
    max_examples=20,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_command_with_anything(path: tuple[str, ...], data: st.DataObject, study: Path) -> None:
    words = data.draw(typings(ALL[path]))
    before = state(study)
    with pytest.MonkeyPatch.context() as patch:
        if path == ("ui",):  # it would serve until it is stopped
            patch.setattr("relay.app.serve", lambda *_: None)
        if path == ("kit", "build"):  # it would fetch packages
            patch.setattr("relay.kit.own_wheel", missing)
        if path == ("doctor",):  # it would import every package anew, and measure the disk
            patch.setattr("relay.doctor.loading.failures", dict)
            patch.setattr("relay.doctor.machine.PIECE", 4096)
        done = typed(*path, *words, cwd=study, RELAY_HOME=str(study / "home"), HOME=str(study))
    told = f"{path} {words}\n{done.out}\n{done.err}"
    assert done.code in {0, 1, 2, 3}, told
    assert "Traceback" not in done.out + done.err, told
    assert "error: unexpected" not in done.err, told
    if done.code:
        assert (done.err.count("what to do:") == 1) != ("Usage:" in done.err), told
    if done.code in {2, 3} and path != ("doctor",):  # it reports what is wrong, to a file if asked
        assert state(study) == before, (told, set(state(study).items()) ^ set(before.items()))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_only_a_command_that_resumes_says_so(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(resumes: bool) -> None:
        if resumes:
            top.resumes()
        raise error

    for resumes in (True, False):
        with pytest.raises(typer.Exit):
            top.command(broken)(resumes)
        said = capsys.readouterr().err
        assert ("it resumes" in said or "finished work is kept" in said) == resumes
        assert "un the same command again" in said


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "MB are free there now\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 1, "Change the permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a"), 1, "Check the path: something in it isn't there"),
        (OSError(errno.EROFS, "Read-only file system"), 1, "That disk is read-only"),
        (MemoryError(), 1, "not enough memory"),
        (RecursionError("too deep"), 1, "unexpected RecursionError: too deep"),
        (KeyError("x"), 1, "a bug in relay"),
        (RuntimeError("Symlink loop from 'a'"), 2, "a link that leads to itself"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_nobody_expected(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_theirs", set())  # an earlier test may have loaded a plug-in from these tests

    def broken() -> None:
        raise error

    with pytest.raises(typer.Exit) as left:
        top.command(broken)()
    assert left.value.exit_code == code
    said = capsys.readouterr().err
    assert says in said
    assert "what to do:" in said
    assert "Traceback" not in said
