"""What libraries have to say does not reach the screen as it is."""

from __future__ import annotations

import errno
import logging
import threading
import warnings
from pathlib import Path

import pytest

from relay.logs import LogFile, logged, no_noise, to_log


def warn(text: str) -> None:
    warnings.warn_explicit(text, UserWarning, "/site-packages/torch/loader.py", 7)


def test_a_warning_is_one_line_of_ours_and_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with warnings.catch_warnings(), no_noise(said.append):
        warnings.simplefilter("always")
        for _ in range(4):
            warn("This loader is slow\x1b[2J.\nAnd more.")
        warn("Another")
    assert said == ["This loader is slow\\x1b[2J.", "Another"]
    assert capfd.readouterr() == ("", "")


def test_where_there_is_a_log_file_warnings_are_in_it_alone(tmp_path: Path) -> None:
    said: list[str] = []
    handler = LogFile(tmp_path / "logs" / "run.log")
    with warnings.catch_warnings(), no_noise(said.append):
        warnings.simplefilter("always")
        to_log(handler)
        warn("This loader is slow")
    for logger in ("relay", "py.warnings"):
        logging.getLogger(logger).removeHandler(handler)
    handler.close()
    assert said == []
    assert "This loader is slow" in (tmp_path / "logs" / "run.log").read_text()


def test_a_thread_that_dies_is_logged_and_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def die() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with logged(tmp_path / "run.log"), no_noise(pytest.fail):
        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    assert capfd.readouterr().err == ""
    assert "No space left on device" in (tmp_path / "run.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_on_a_full_disk_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(Path("/dev/full"))
    handler.handle(logging.LogRecord("relay", logging.INFO, "", 0, "a line", None, None))
    handler.close()
    assert capfd.readouterr().err == ""
