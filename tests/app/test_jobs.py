"""Jobs: real processes, in turn, that outlive the page."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from io import BytesIO
from pathlib import Path
from threading import Thread
from unittest.mock import MagicMock

import pytest
from filelock import FileLock

from relay.app import runner
from relay.app.jobs import DONE, FAILED, OVER, RESUMES, RUNNING, STOPPED, WAITING, Job, Jobs, alive
from relay.app.uploads import keep
from relay.errors import UserError
from tests.app.conftest import Opened


def until(job: Job, *states: str, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while (state := job.state) not in states:
        assert time.monotonic() < end, f"{state}: {job.output}"
        time.sleep(0.05)
    return state


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    (tmp_path / "home").mkdir(mode=0o700)
    return Jobs(tmp_path / "home" / "page" / "jobs", tmp_path / "home")


def test_a_command_runs_with_its_passphrase_and_leaves_it_nowhere(jobs: Jobs, tmp_path: Path) -> None:
    secret = "correct horse battery"
    job = jobs.start(["keys", "new", "--name", "north"], "Make keys", tmp_path, secret, light=True)
    assert until(job, *OVER) == DONE, job.output
    assert "New keys for north" in job.output
    assert (tmp_path / "home" / "identity.json").is_file()
    assert job.command == "relay keys new --name north"
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert secret.encode() not in file.read_bytes()
    again = jobs.job(job.number)
    assert (again.state, again.code, again.secret) == (DONE, 0, True)


def test_a_failed_one_has_the_commands_own_words(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(["keys", "show"], "Show keys", tmp_path, light=True)
    assert until(job, *OVER) == FAILED
    assert (job.code, "what to do: " in job.output) == (2, True)


def test_heavy_ones_wait_in_turn_light_ones_do_not_and_each_can_be_stopped(jobs: Jobs, tmp_path: Path) -> None:
    first = jobs.start(["ui", "--no-browser"], "A", tmp_path)  # it runs until it is stopped
    second = jobs.start(["--version"], "B", tmp_path)
    third = jobs.start(["--version"], "C", tmp_path)
    light = jobs.start(["--version"], "D", tmp_path, light=True)
    assert until(light, *OVER) == DONE
    assert until(first, RUNNING) == RUNNING
    assert [job.state for job in (second, third)] == [WAITING, WAITING]
    jobs.stop(second)
    assert until(second, *OVER) == STOPPED
    while "works once" not in first.output:
        assert first.state == RUNNING, first.output
        time.sleep(0.05)
    jobs.stop(first)
    assert until(first, *OVER) == STOPPED, first.output
    assert until(third, *OVER) == DONE
    assert [job.number for job in jobs.all()] == [4, 3, 2, 1]


def test_one_whose_process_died_has_stopped(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(["--version"], "A", tmp_path, light=True)
    until(job, *OVER)
    while alive(job.folder):  # it lets go of its lock just after it has said so
        time.sleep(0.02)
    (job.folder / "state.json").write_text(json.dumps({"state": RUNNING}))
    assert job.state == STOPPED


def test_a_damaged_state_stops_its_own_job_only(jobs: Jobs, tmp_path: Path) -> None:
    bad = jobs.start(["--version"], "A", tmp_path)
    until(bad, *OVER)
    while alive(bad.folder):
        time.sleep(0.02)
    (bad.folder / "state.json").write_text("")
    assert (bad.state, bad.code, bad.over) == (STOPPED, None, False)
    assert until(jobs.start(["--version"], "B", tmp_path), *OVER) == DONE  # a heavy one looks at all before it


def test_no_two_are_started_at_once(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one, whose process is faster, would not see that an earlier one is about to run."""
    busy, most = [], []

    def popen(words: list[str], **_: object) -> MagicMock:
        busy.append(words[-2])
        most.append(len(busy))
        return MagicMock(poll=lambda: None, wait=lambda _: ended(Path(words[-2])))

    def ended(folder: Path) -> None:
        time.sleep(0.02)
        if str(folder) in busy:
            busy.remove(str(folder))
            (folder / "state.json").write_text('{"state": "done"}')

    monkeypatch.setattr("relay.app.jobs.subprocess.Popen", popen)
    threads = [Thread(target=jobs.start, args=(["--version"], "A", tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_other_people_see_no_job_and_no_dropped_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "new"  # before there are keys, nobody has made it
    keep(home / "page" / "uploads", [("a.png", BytesIO(b"1"))])
    assert stat.S_IMODE((home / "page").stat().st_mode) == 0o700
    (home / "page").chmod(0o755)
    monkeypatch.setattr("relay.app.jobs.subprocess.Popen", lambda *_, **__: MagicMock(poll=lambda: 1))
    Jobs(home / "page" / "jobs", home).start(["--version"], "A", tmp_path)
    assert stat.S_IMODE((home / "page").stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="locks are not inherited here")
def test_a_command_whose_process_was_killed_still_runs_and_can_be_stopped(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(["ui", "--no-browser"], "A", tmp_path)
    while "works once" not in job.output:
        time.sleep(0.05)
    os.kill(os.getpgid(job.said["pid"]), signal.SIGKILL)  # the job's process leads the group
    time.sleep(0.3)
    assert job.state == RUNNING
    after = jobs.start(["--version"], "B", tmp_path)
    assert after.state == WAITING
    jobs.stop(job)
    assert until(job, *OVER) == STOPPED
    assert until(after, *OVER) == DONE


@pytest.mark.skipif(os.name != "posix", reason="the script is started by its mode")
def test_one_that_does_not_stop_is_ended(opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command that ignores SIGTERM, in the place of python."""
    (stubborn := tmp_path / "stubborn").write_text(
        "#!/bin/sh\ntrap '' TERM\necho began\nwhile :; do sleep 0.05; done\n"
    )
    stubborn.chmod(0o755)
    browser = opened()
    job = browser.desk.run(["x"], "A", light=True)
    until(job, *OVER)
    (job.folder / "state.json").unlink()
    (job.folder / "output.txt").unlink()
    monkeypatch.setattr("sys.executable", str(stubborn))
    thread = Thread(target=runner._run, args=(job, browser.desk.home, ""))
    with FileLock(job.folder / "lock"):
        thread.start()
        while "began" not in job.output:
            time.sleep(0.02)
        browser.post(f"/jobs/{job.number}/stop")
        assert "End it at once" in browser.get(f"/jobs/{job.number}").text
        thread.join(0.5)
        assert thread.is_alive()
        browser.post(f"/jobs/{job.number}/stop", {"kill": "yes"})
        thread.join(20)
    assert (job.state, job.code) == (STOPPED, -signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"words": 3}', '{"words": []}'])
def test_a_damaged_record_is_named_and_hides_no_other(jobs: Jobs, tmp_path: Path, text: str) -> None:
    good = jobs.start(["--version"], "A", tmp_path, light=True)
    bad = jobs.root / "000002"
    bad.mkdir()
    (bad / "job.json").write_text(text)
    assert [job.number for job in jobs.all()] == [good.number]
    with pytest.raises(UserError, match="damaged"):
        jobs.job(2)
    for number in (3, 10**300):
        with pytest.raises(UserError, match=f"there is no job {number}"):
            jobs.job(number)


def test_the_page_shows_each_with_its_command(opened: Opened) -> None:
    browser = opened()
    job = browser.desk.run(["keys", "show", "--home", "<b>"], "Show keys", light=True)
    until(job, *OVER)
    page = browser.get(f"/jobs/{job.number}").text
    assert "relay keys show --home &#39;&lt;b&gt;&#39;" in page
    assert "what to do:" in page
    assert "failed" in browser.get("/jobs").text
    assert browser.get("/jobs/77").status_code == 422
    again = browser.post(f"/jobs/{job.number}/again")
    assert again.headers["location"] == "/jobs/2"
    until(browser.desk.jobs.job(2), *OVER)
    state = job.folder / "state.json"
    state.write_text(json.dumps({"state": FAILED, "code": -9}))
    assert "ended by signal 9, often because" in browser.get(f"/jobs/{job.number}").text
    for words, button in ((["correct", "learn"], "Resume"), (["correct", "list"], "Start over"), (["adopt"], "Resume")):
        record = json.loads((job.folder / "job.json").read_text())
        (job.folder / "job.json").write_text(json.dumps({**record, "words": words}))
        state.write_text(json.dumps({"state": "stopped"}))
        assert f"<button>{button}</button>" in browser.get(f"/jobs/{job.number}").text


def test_the_reference_names_the_same_commands_that_resume() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/reference/commands.md"
    (said,) = re.findall(r"Run the same command again: (.*) resume; others begin", page.read_text())
    assert set(re.findall("`(.*?)`", said)) == {*RESUMES}


def test_one_is_run_again_where_it_ran(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, found = opened(), []
    job = browser.desk.run(["keys", "show"], "Show keys", light=True)
    until(job, *OVER)
    elsewhere = browser.desk.cwd / "below"
    elsewhere.mkdir()
    record = json.loads((job.folder / "job.json").read_text())
    (job.folder / "job.json").write_text(json.dumps({**record, "cwd": str(elsewhere)}))
    monkeypatch.setattr(Jobs, "start", lambda self, *given: found.append(given) or job)
    browser.post(f"/jobs/{job.number}/again", {"passphrase": " blank "})
    assert [(given[2], given[3]) for given in found] == [(elsewhere, " blank ")]
    (job.folder / "job.json").write_text(json.dumps({**record, "cwd": str(browser.desk.home)}))
    answer = browser.post(f"/jobs/{job.number}/again")
    assert (answer.status_code, len(found)) == (422, 1)
