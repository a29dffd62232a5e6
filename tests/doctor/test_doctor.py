"""What relay doctor finds, the cure it gives, and what a report does not say."""

from __future__ import annotations

import errno
import getpass
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay import installed
from relay.bundle import stick as sticks
from relay.doctor import clock, encoding, gpu, loading, machine, packages, permissions, redacted, selftest, stick
from relay.doctor.checkup import check_machine
from relay.doctor.finding import Finding
from relay.trust import DamagedLedger, Ledger, canonical, keys
from tests.cli.typed import typed

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


def told(findings: Iterator[Finding], level: str) -> str:
    """The texts and cures of the findings of a level, as they are shown."""
    return "\n".join(one.shown(f"{one.text}\n{one.cure}") for one in findings if one.level == level)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a site with keys and a study, whose ledger has one event, at NOW."""
    place = tmp_path / "our hospital"
    made = keys.new("north", now=NOW - timedelta(days=1))
    keys.save(made, place, None)
    study = place / "studies/eyes"
    study.mkdir(parents=True)
    (study / "coordinator.json").write_bytes(canonical(made.identity))
    Ledger(study).append("sent", NOW, leg=1)
    return place


# -- clock -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_behind_installation", lambda now: iter(()))


@pytest.mark.usefixtures("installed_long_ago")
@pytest.mark.parametrize(
    ("behind", "level", "says"),
    [
        (timedelta(0), "ok", "2026-05-04 12:00 UTC"),
        (timedelta(hours=2), "warning", "ledger of a study has an event from 2026-05-04 12:00"),
        (timedelta(days=3), "fault", "before this site's keys were made on 2026-05-03"),
        (timedelta(days=-800), "fault", "expired on 2028-05-02; the clock shows 2028-07-12"),
    ],
)
def test_a_clock_is_compared_with_what_is_dated_here(home: Path, behind: timedelta, level: str, says: str) -> None:
    said = told(clock.check_clock(home, NOW - behind), level)
    assert says in said
    assert level == "ok" or "clock" in said


def test_a_clock_before_the_installation_is_a_fault(tmp_path: Path) -> None:
    assert "before relay was installed" in told(
        clock.check_clock(tmp_path, datetime(2001, 1, 1, tzinfo=timezone.utc)), "fault"
    )


@pytest.mark.usefixtures("installed_long_ago")
def test_a_damaged_ledger_has_its_own_cure(home: Path) -> None:
    (home / "studies/eyes/ledger.jsonl").write_bytes(b"{}\n")
    assert "relay ledger --rebuild -s eyes --home" in told(clock.check_clock(home, NOW), "fault")


def test_a_zone_that_is_none_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Atlantis")
    assert "unset TZ" in told(clock.check_zone(tmp_path), "warning")


# -- disk, memory, stick ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> float:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(machine, "write_speed", full)
    assert "is full\nDelete what you don't need" in told(machine.check_disk(tmp_path), "fault")
    assert "it is full\nDelete what you don't need" in told(stick.check_stick_at(tmp_path), "fault")


@pytest.mark.parametrize(
    ("free", "speed", "level", "says"),
    [
        (1e9, 100.0, "fault", "1.0 GB free"),
        (9e9, 100.0, "warning", "9.0 GB free"),
        (9e10, 2.0, "warning", "written at 2 MB/s"),
        (9e10, 100.0, "ok", "90.0 GB free"),
    ],
)
def test_space_and_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, speed: float, level: str, says: str
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    monkeypatch.setattr(machine, "write_speed", lambda folder: speed)
    assert says in told(machine.check_disk(tmp_path), level)


def test_speed_is_measured_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PIECE", 4096)
    assert machine.write_speed(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"proc/meminfo": "MemAvailable: 4000 kB\n", "sys/fs/cgroup/memory.max": "1000000\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert machine.memory(tmp_path) == (0.001, 0.001)
    monkeypatch.setattr(machine, "memory", lambda: (4.0, 3.0))
    assert "4.0 GB, 3.0 GB of it" in told(machine.check_memory(), "warning")
    monkeypatch.setattr(machine, "memory", lambda: (16.0, 1.0))
    assert "at least 2 GB" in told(machine.check_memory(), "fault")


def test_a_folder_that_is_no_stick_and_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(machine, "PIECE", 4096)
    assert "this computer's own disk" in told(stick.check_stick_at(tmp_path), "warning")
    assert "there is no folder" in told(stick.check_stick_at(tmp_path / "gone"), "fault")


def test_fat32_and_the_network_are_named(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\n/dev/sdb1 {tmp_path} vfat rw 0 0\n")
    assert sticks.file_system(tmp_path, mounts) == "vfat"
    assert sticks.file_system(Path("/"), mounts) == "ext4"
    assert "splits a larger bundle" in stick._format("vfat").text


# -- keys ------------------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")


@posix
@pytest.mark.parametrize(("mode", "says"), [(0o640, "others can read"), (0o622, "others can change")])
def test_open_keys_are_a_fault_with_the_command_that_closes_them(home: Path, mode: int, says: str) -> None:
    (home / "keys.json").chmod(mode)
    said = told(permissions.check_permissions(home), "fault")
    assert says in said
    assert f"chmod 600 '{home}/keys.json'" in said


@posix
def test_an_open_home_on_a_stick_can_only_be_moved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.chmod(0o755)
    assert "chmod 700" in told(permissions.check_permissions(home), "fault")
    monkeypatch.setattr(permissions, "file_system", lambda folder: "vfat")
    assert "Move it to a folder on a disk" in told(permissions.check_permissions(home), "fault")


def test_keys_without_a_passphrase_and_without_their_public_part(home: Path) -> None:
    assert "--replace" in told(permissions.check_permissions(home), "warning")
    (home / keys.PUBLIC).unlink()
    assert "Restore it from a backup" in told(permissions.check_permissions(home), "fault")


def test_a_passphrase_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PASSPHRASE", "tulip anvil harbour")
    said = told(permissions.check_permissions(tmp_path), "warning")
    assert "unset RELAY_PASSPHRASE" in said
    assert "tulip" not in said


def test_windows_is_told_about_icacls(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions.sys, "platform", "win32")
    assert f"icacls {home} /inheritance:r" in told(permissions.check_permissions(home), "warning")


# -- Python, packages, GPU, encoding ---------------------------------------------------------------------------------


def test_packages_are_compared_with_requirements_and_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"Requires-Python": ">=3.99"}
    wants = ["numpy>=999", "no-such-package-of-anybody", 'colorama; sys_platform == "none"']
    monkeypatch.setattr(installed, "ourselves", lambda: SimpleNamespace(requires=wants, metadata=metadata))
    said = told(packages.check_packages(), "fault")
    assert "not installed: no-such-package-of-anybody" in said
    assert "(must be >=999)" in said
    assert "colorama" not in said
    assert "relay needs >=3.99" in told(packages.check_python(), "fault")
    wants[:] = ["numpy"]
    monkeypatch.setattr(packages, "read_lock", lambda: {"numpy": "0.1"})
    assert "(lock: 0.1)" in told(packages.check_packages(), "warning")
    monkeypatch.setattr(packages, "read_lock", lambda: None)
    assert "the lock is not" in told(packages.check_packages(), "warning")


def test_a_package_without_its_files_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata may be left behind when a disk was full, or a folder was deleted."""
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    names = ["thing/__init__.py", "thing/lib.so.1", "thing/tests/test_it.py", "thing/__pycache__/x.pyc", "../bin/thing"]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    package = Distribution.at(info)
    monkeypatch.setattr(installed, "required", lambda: {"thing": package})
    monkeypatch.setattr(packages, "_incomplete", packages._incomplete.__wrapped__)  # it remembers what it found
    said = told(packages.check_packages(), "fault")
    assert "installed, but with files missing or of another size: thing (2 of 2, such as thing/__init__.py)" in said
    assert "Install relay again from its kit (sh install.sh, on Windows install.bat): thing." in said
    for name in names[:2]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert "files missing" not in "".join(found.text for found in packages.check_packages())


def test_a_file_that_was_cut_short_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "thing-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: thing\nVersion: 1\n")
    (info / "RECORD").write_text("thing/lib/libthing.so,sha256=x,4000\nthing/__init__.py,sha256=x,0\n")
    (tmp_path / "thing/lib").mkdir(parents=True)
    (tmp_path / "thing/__init__.py").touch()
    (library := tmp_path / "thing/lib/libthing.so").write_bytes(b"x" * 100)
    package = Distribution.at(info)
    monkeypatch.setattr(installed, "required", lambda: {"thing": package})
    monkeypatch.setattr(packages, "_incomplete", packages._incomplete.__wrapped__)
    said = told(packages.check_packages(), "fault")
    assert "of another size: thing (1 of 2, such as thing/lib/libthing.so, 100 of 4000 bytes)" in said
    assert "Install relay again from its kit (sh install.sh, on Windows install.bat): thing." in said
    assert packages.broken() == {"thing"}
    library.write_bytes(b"x" * 4000)
    assert "another size" not in "".join(found.text for found in packages.check_packages())


@pytest.fixture
def shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of PYTHONPATH, before all others."""
    (folder := tmp_path / "shadows").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(loading, "failures", loading.failures.__wrapped__)  # it remembers what it found
    return folder


def test_a_package_that_can_not_be_imported_is_a_fault(shadows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MODULES", ("yaml", "numpy", "cv2", "torch"))
    (shadows / "numpy.py").write_text("raise ImportError('libfoo.so.1: no such file')\n")
    (shadows / "cv2.py").write_text("print('needs numpy')\nimport numpy\n")
    (shadows / "torch.py").write_text("import os, signal\nos.abort()\n")
    found = list(packages.check_packages())
    assert [one.text.partition(" ")[0] for one in found] == ["numpy", "torch"]
    said = told(iter(found), "fault")
    assert "numpy can't be imported: ImportError: libfoo.so.1: no such file\nPYTHONPATH names" in said
    assert "torch can't be imported: SIGABRT: it ended Python" in said or sys.platform == "win32"
    assert str(shadows) in said
    report = redacted.text_of(found)
    assert "numpy can't be imported: ImportError: [error]" in report
    assert str(shadows) not in report
    assert not list(packages.check_libraries())  # it is numpy that OpenCV lacks
    monkeypatch.setenv("PYTHONPATH", "")
    assert "Install relay again" in told(packages.check_packages(), "fault")


def test_a_package_that_gives_no_answer_is_stopped(shadows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MODULES", ("torch",))
    monkeypatch.setattr(loading, "PATIENCE", 2)
    (shadows / "torch.py").write_text("import time\ntime.sleep(99)\n")
    assert "torch can't be imported: Timeout: no answer in 2 s" in told(packages.check_packages(), "fault")


@pytest.mark.parametrize("name", ["numpy", pytest.param("yaml", marks=pytest.mark.slow)])
def test_a_check_that_needs_a_broken_package_points_to_it(name: str, shadows: Path, tmp_path: Path) -> None:
    (shadows / f"{name}.py").write_text("raise ImportError('libfoo.so.1: no such file')\n")
    report, empty = tmp_path / "report.txt", tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "relay", "doctor", "--report", str(report), "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(shadows)}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"clock: could not be checked: the package {name} is broken" in done.stdout, done.stdout + done.stderr
    assert "what to do: Do what is said of packages above" in done.stdout
    assert "bug in relay" not in done.stdout
    assert "OpenCV" not in done.stdout
    assert f"packages: {name} can't be imported: ImportError: [error]" in report.read_text()


def test_the_modules_tried_belong_to_packages_that_relay_requires() -> None:
    from importlib.metadata import packages_distributions

    from_where, required = packages_distributions(), installed.required()
    for module in loading.MODULES:
        assert {installed.normal(each) for each in from_where[module.partition(".")[0]]} & required.keys(), module


def test_a_library_that_the_system_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    error = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    monkeypatch.setattr(loading, "failures", lambda: {"cv2": error})
    said = told(packages.check_libraries(), "warning")
    assert "libGL.so.1 is missing" in said
    assert "libgl1" in said
    monkeypatch.setattr(loading, "failures", lambda: {"cv2": "AttributeError: no dnn"})
    said = told(packages.check_libraries(), "warning")
    assert "cv2 can't be imported: AttributeError: no dnn" in said
    assert "libgl1" not in said


def test_the_lock_is_found_beside_the_sources() -> None:
    assert (packages.read_lock() or {})["torch"] == "2.13.0"


def test_no_gpu_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "visible_gpus", lambda: 0)
    monkeypatch.setattr(gpu, "CARD", tmp_path / "none")
    assert "legs run on the CPU" in told(gpu.check_gpu(), "ok")
    monkeypatch.setattr(gpu, "CARD", tmp_path)
    assert "CUDA_VISIBLE_DEVICES" in told(gpu.check_gpu(), "warning")


def test_a_gpu_that_torch_can_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(gpu, "visible_gpus", lambda: 2)
    monkeypatch.setattr(gpu, "driver_cuda", lambda: "11.4")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "a build without CUDA" in told(gpu.check_gpu(), "warning")
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "Update the driver, or use a torch for CUDA 11.4" in told(gpu.check_gpu(), "warning")


def test_letters_beyond_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(encoding.check_encoding(tmp_path), "fault") == ""
    monkeypatch.setattr(encoding.sys, "getfilesystemencoding", lambda: "ascii")
    assert "LANG=C.UTF-8" in told(encoding.check_encoding(tmp_path), "fault")
    assert list(tmp_path.iterdir()) == []


# -- the self-test ---------------------------------------------------------------------------------------------------


def test_times_are_compared_with_the_reference() -> None:
    done = dict.fromkeys(("keys", "invite", "roster", "train", "receipt", "receive", "resume"), 1.0)
    first, *_ = found = list(selftest.timed(done | {"receive": 1000.0}))
    assert "keys and roster: 3.0 s, 0." in first.text
    assert [one.level for one in found].count("warning") == 1


def test_a_failed_command_is_quoted() -> None:
    found = selftest._failed(
        "a rehearsal", 2, ["clinic_a$ relay train\n", "error: no room\n", "what to do: free some\n"]
    )
    assert "exited with code 2: error: no room what to do: free some" in found.shown(found.text)
    assert "no room" not in found.redacted(found.text)


# -- the command -----------------------------------------------------------------------------------------------------


def test_a_check_that_breaks_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("why {not}")

    monkeypatch.setattr(packages, "check_python", broken)
    monkeypatch.setattr(machine, "PIECE", 4096)
    found = list(check_machine(tmp_path, tmp_path))
    assert found[0].shown(found[0].text) == "could not be checked: RuntimeError: why {not}"
    assert found[-1].subject == "encoding"


def test_a_missing_package_does_not_keep_the_others_from_being_checked(tmp_path: Path) -> None:
    code = "import sys; sys.modules['cryptography'] = sys.modules['pyrage'] = None; import relay.cli.app as a; a.main()"
    environment = {**os.environ, "RELAY_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "encoding" in done.stdout, done.stderr


@posix
def test_a_report_has_no_path_and_no_name(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PIECE", 4096)
    (home / "keys.json").chmod(0o644)
    (home / "studies/eyes/ledger.jsonl").write_bytes(b"{}\n")
    report = tmp_path / "report.txt"
    done = typed("doctor", "--stick", tmp_path / "gone", "--report", report, cwd=tmp_path, RELAY_HOME=str(home))
    assert done.code == 2
    assert str(home) in done.out
    assert "what to do: Do what is written below each" in done.err
    text = report.read_text()
    assert "others can read [path] (mode 644)" in text
    for private in (str(tmp_path), str(home), "hospital", "north", "eyes", socket.gethostname(), platform.node()):
        assert private not in text
    assert getpass.getuser() not in text.replace(getpass.getuser() * (getpass.getuser() == "relay"), "")


@posix
def test_a_report_does_not_tell_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5:45")
    time.tzset()
    found = list(clock.check_zone())
    monkeypatch.undo()
    time.tzset()
    assert told(iter(found), "ok") == "UTC+0545\n"
    text = redacted.text_of(found)
    assert "ok       time zone: UTC[offset]\n" in text
    assert "0545" not in text


def test_a_report_replaces_only_a_report(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    typed("doctor", "--report", tmp_path / "notes.txt", cwd=tmp_path).refused(2, "is not a report")
    typed("doctor", "--report", tmp_path / "gone/report.txt", cwd=tmp_path).refused(2, "there is no folder")
    redacted.write_report([], tmp_path / "report.txt")
    assert redacted.is_report(tmp_path / "report.txt")


def test_a_report_says_what_kind_of_error_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever helps must see what was found: here a read-only stick, and a damaged ledger."""

    def refused(folder: Path) -> float:
        raise OSError(errno.EROFS, "Read-only file system", str(folder / "x"))

    monkeypatch.setattr(machine, "write_speed", refused)
    text = redacted.text_of([stick._writing(tmp_path)])
    assert "fault    stick: it can't be used: [error: Read-only file system]\n" in text
    assert str(tmp_path) not in text
    assert "[error: why]" in text.splitlines()[2]
    error = DamagedLedger("line 7 of /home/eyes is not the one")
    assert Finding("x", "fault", "{error}", "", {"error": error}).redacted("{error}") == "[error: DamagedLedger]"


def test_every_text_can_be_redacted() -> None:
    found = Finding("x", "fault", "{path} is open", "chmod {path}", {"path": "/a/{b}"})
    assert found.shown(found.text) == "/a/{b} is open"
    assert redacted.text_of([found]).endswith("fault    x: [path] is open\n         what to do: chmod [path]\n")
