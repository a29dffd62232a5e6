"""A kit: pip chooses wheels by the system they are for; every change is noticed before anything is installed."""

from __future__ import annotations

import errno
import json
import os
import platform as this
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.errors import RelayError, UserError
from relay.installed import lock_here
from relay.kit import building, install_kit, manifest, platforms, pretrained, updating, verify_kit, wheels
from relay.kit.building import Order
from relay.trust import BadDocument, BadSignature, DigestMismatch, Incomplete, keys
from relay.trust.fingerprints import words
from tests.cli.typed import typed

NOW = datetime(2026, 5, 4, tzinfo=timezone.utc)
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
LINUX, WINDOWS = platforms.find(["linux_x86_64", "win_amd64"])


def wheel(folder: Path, name: str, *requires: str, tag: str = "py3-none-any", version: str = "1.0") -> Path:
    """A wheel with one module."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/RECORD": f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in contents.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: ``hello`` needs ``paint`` on Windows, and ``core``, which is built for each system."""
    folder = tmp_path_factory.mktemp("index")
    wheel(folder, "hello", "core", 'paint ; sys_platform == "win32"')
    wheel(folder, "paint")
    for tag in (f"cp{HERE.replace('.', '')}-none-manylinux_2_17_x86_64", f"cp{HERE.replace('.', '')}-none-win_amd64"):
        wheel(folder, "core", tag=tag)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _own_pip() -> Iterator[None]:
    """pip without a network, and without what this machine has configured for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NO_INDEX": "1", "CONFIG_FILE": os.devnull, "FIND_LINKS": ""}.items():
            patch.setenv(f"PIP_{name}", value)
        yield


@pytest.fixture(scope="module")
def _made(_own_pip: None, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "kit"
    weights = folder.with_name("resnet18.pth")
    weights.write_bytes(b"weights")
    order = Order(["hello"], [LINUX, WINDOWS], HERE, "default", (str(index),), added=[weights])
    building.build(order, folder, NOW, lambda text: None)
    return folder


@pytest.fixture
def kit(_made: Path, tmp_path: Path) -> Path:
    """A kit of one's own."""
    return Path(shutil.copytree(_made, tmp_path / "a kit"))


def verifier(kit: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", kit / "verify_kit.py"], capture_output=True, text=True, check=False, cwd=kit
    )


# -- building --------------------------------------------------------------------------------------------------------


def test_wheels_are_chosen_by_the_system_they_are_for(kit: Path) -> None:
    tag = f"cp{HERE.replace('.', '')}-none"
    assert {path.name for path in (kit / "wheels").iterdir()} == {
        "hello-1.0-py3-none-any.whl",
        "paint-1.0-py3-none-any.whl",
        f"core-1.0-{tag}-manylinux_2_17_x86_64.whl",
        f"core-1.0-{tag}-win_amd64.whl",
    }
    locks = {path.stem: path.read_text() for path in (kit / "locks").iterdir()}
    assert "paint==1.0 --hash=sha256:" in locks["win_amd64"]
    assert "paint" not in locks["linux_x86_64"]
    assert locks["linux_x86_64"].split("core==1.0")[1] != locks["win_amd64"].split("core==1.0")[1]


def test_what_else_is_in_a_kit(kit: Path) -> None:
    content = manifest.opened(kit).content
    assert content["python"] == HERE
    assert content["created"] == "2026-05-04T00:00:00Z"
    assert {"README.txt", "install.sh", "install.bat", "configs/demo.yaml", "added/resnet18.pth"} <= set(
        content["files"]
    )
    assert f"python{HERE}" in (kit / "install.sh").read_text()
    assert (kit / "install.bat").read_bytes().count(b"\r\n") == (kit / "install.bat").read_bytes().count(b"\n") > 5
    assert (kit / "verify_kit.py").read_bytes() == Path(verify_kit.__file__).read_bytes()
    assert subprocess.run(["sh", "-n", kit / "install.sh"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("wanted", "advice"),
    [("torch==9.9+cpu", "PyTorch's own"), ("nothing-of-this-name", "Give the index or the folder")],
)
def test_what_can_not_be_had_is_named_with_its_cure(wanted: str, advice: str, index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pip finds no wheel of") as error:
        wheels.download([wanted], WINDOWS, HERE, tmp_path / "to", None, [str(index)])
    assert advice in error.value.advice()


def test_pip_that_works_differently_or_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ends = SimpleNamespace(returncode=wheels.CHANGED, stderr="ERROR: no route\n")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *args, **more: ends)
    with pytest.raises(UserError, match="this version of pip"):
        wheels.download(["hello"], LINUX, HERE, tmp_path)
    ends.returncode, ends.stderr = 1, "ERROR: ResolutionImpossible: for help\n"
    with pytest.raises(UserError, match="contradict each other"):
        wheels.download(["hello"], LINUX, HERE, tmp_path)
    ends.stderr = "WARNING: the cache is off\n" * 99 + "ERROR: no route\n  to the host\n"
    with pytest.raises(RelayError, match="no route\n    to the host") as caught:
        wheels.download(["hello"], LINUX, HERE, tmp_path, None, ["https://index.example/simple"])
    assert "WARNING" not in str(caught.value)
    ends.stderr = "one\n" * 400 + "the last line"
    with pytest.raises(RelayError, match=r"linux_x86_64:\n  …[\s\S]{900,}the last line$"):
        wheels.download(["hello"], LINUX, HERE, tmp_path)


def test_a_full_disk_is_said_and_nothing_is_said_to_be_kept(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In pip, which is another process, and in relay, before there is room again."""
    said = "WARNING: …\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    ends = SimpleNamespace(returncode=1, stderr=said)
    with monkeypatch.context() as patch:
        patch.setattr(wheels.subprocess, "run", lambda *args, **more: ends)
        with pytest.raises(RelayError, match=f"the disk is full: pip writes to {tmp_path}, and temp") as caught:
            wheels.download(["hello"], LINUX, HERE, tmp_path / "to")
        assert "TMPDIR" in caught.value.advice()
        with pytest.raises(RelayError, match=f"the disk is full: pip writes to {tmp_path}, and temp"):
            building.own_wheel(tmp_path)

    def full(*args: object) -> None:
        assert (tmp_path / "kit/wheels").is_dir()
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "kit/README.txt"))

    monkeypatch.setattr(building, "_add_programs", full)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=0 if place.name == "kit" else 9e9))
    order = Order(["hello"], [LINUX], HERE, "default", [str(index)])
    with pytest.raises(
        RelayError, match=r"README.txt can't be written; 0\.0 MB are free there\. The half kit"
    ) as caught:
        building.build(order, tmp_path / "kit", NOW, lambda text: None)
    assert "from the start" in caught.value.advice()
    assert not (tmp_path / "kit").exists()


def test_a_folder_with_files_is_left_alone(kit: Path) -> None:
    with pytest.raises(UserError, match="is not empty"):
        building.build(Order(["hello"], [LINUX], HERE, "default"), kit, NOW, print)
    typed("kit", "build", "-o", kit).refused(2, "is not empty")


def test_half_a_kit_is_not_left(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "LONGEST", 5)
    monkeypatch.setattr(wheels, "download", lambda *args: [])
    with pytest.raises(UserError, match="more than 5 characters"):
        building.build(Order(["hello"], [LINUX], HERE, "default"), tmp_path / "kit", NOW, lambda text: None)
    assert not (tmp_path / "kit").exists()
    typed("kit", "build", "-o", tmp_path / "gone/kit").refused(2, "there is no folder", advice="Plug in the stick")


def test_torch_is_asked_for_by_its_build_where_the_index_has_another() -> None:
    def asked(system: str, accelerator: str) -> list[str]:
        return Order([], (), "3.11", accelerator, lock=lock_here()).asked(platforms.PLATFORMS[system])

    assert asked("linux_x86_64", "cpu") == ["torch==2.13.0+cpu"]
    assert asked("win_amd64", "cpu") == asked("macosx_arm64", "cu126") == asked("linux_x86_64", "default") == []
    assert asked("win_amd64", "cu126") == ["torch==2.13.0+cu126"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--platform", "win_amd46"], "did you mean 'win_amd64'"),
        (["--python", "3.11.2"], "without a patch number"),
        (["--python", "3.9"], "must be a version that relay admits"),
        (["--index", "gone"], "there is no such folder"),
        (["--wheel", "relay_learning-gone.whl"], "must be a file with relay's own wheel"),
        (["--accelerator", "gpu"], "must be cpu, default, or a label"),
        (["--docs", "."], "has no index.html"),
        (["--add", "gone.pth"], "there is no such file"),
    ],
)
def test_wrong_options(words: list[str], says: str, tmp_path: Path) -> None:
    typed("kit", "build", "-o", tmp_path / "kit", *words, cwd=tmp_path).refused(2, says)


def test_names_and_sizes_that_a_stick_can_not_have() -> None:
    manifest.check_portable({"a/b.whl": manifest.LARGEST})
    for names, says in (
        ({"a": manifest.LARGEST + 1}, "4.3 GB"),
        ({"A": 1, "a": 1}, "upper and lower case"),
        ({"docs/con.html": 1}, "device"),
        ({"x" * 99 + "/" + "y" * 101: 1}, "200 characters"),
    ):
        with pytest.raises(UserError, match=says):
            manifest.check_portable(names)


# -- verifying -------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def first_wheel(kit: Path) -> Path:
    return min((kit / "wheels").iterdir())


CHANGES: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "a flipped byte": (lambda kit: flip(first_wheel(kit)), DigestMismatch, "has another SHA-256"),
    "a missing wheel": (lambda kit: first_wheel(kit).unlink(), Incomplete, "missing: wheels/core"),
    "a wheel cut short": (lambda kit: first_wheel(kit).write_bytes(b"PK"), DigestMismatch, "has 2 bytes instead of"),
    "a program beside it": (lambda kit: (kit / "json.py").touch(), DigestMismatch, "not in the manifest: json.py"),
    "a manifest without versions": (
        lambda kit: (kit / "MANIFEST.json").write_text('{"kind": "relay kit", "format": 1, "files": {}}'),
        BadDocument,
        "can't be read as the",
    ),
    "a damaged manifest": (lambda kit: (kit / "MANIFEST.json").write_bytes(b"[]"), BadDocument, "can't be read as the"),
}


def test_weights_that_a_config_names_are_carried(tmp_path: Path) -> None:
    """Once each, from configs and folders of configs; what is no config, or already there, is passed over."""
    weights, folder = tmp_path / "resnet18.pth", tmp_path / "configs"
    weights.write_bytes(b"weights")
    folder.mkdir()
    for name in ("a", "b"):
        text = f"common: {{model: {{name: U-Net, kwargs: {{pretrained: {weights}}}}}}}\n"
        (folder / f"{name}.yaml").write_text(text)
    policy = tmp_path / "policy.yaml"
    policy.write_text("sealed: true\n")
    assert pretrained.weights_of([folder, policy]) == [weights]
    assert pretrained.weights_of([folder, weights]) == []
    weights.unlink()
    with pytest.raises(UserError, match="which are not here"):
        pretrained.weights_of([folder / "a.yaml"])


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_refused(change: str, kit: Path) -> None:
    make, kind, says = CHANGES[change]
    make(kit)
    done = verifier(kit)
    assert done.returncode == 3
    assert says in done.stdout
    assert "what to do:" in done.stdout
    with pytest.raises(kind, match=says):
        manifest.opened(kit)


def test_both_verifiers_say_the_same_words(kit: Path, tmp_path: Path) -> None:
    (kit / "notes.txt").touch()
    done, mine = verifier(kit), typed("kit", "verify", kit, RELAY_HOME=str(tmp_path))
    assert done.returncode == mine.code == 0, done.stdout + mine.err
    for name in ("MANIFEST.json", "verify_kit.py"):
        said = words(bytes.fromhex(verify_kit.sha256(kit / name)))
        assert said in done.stdout
        assert said in mine.out
    assert "notes.txt" in done.stdout
    assert "notes.txt" in mine.out
    assert "no one signed this kit" in mine.err
    (kit / "words.txt").unlink()
    assert verify_kit.in_words(kit, "ab" * 32) == " ".join(["abab"] * 8)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a\\b", "C:x", "", "a/./b"])
def test_a_manifest_that_leads_outside_is_refused(name: str, kit: Path) -> None:
    content = json.loads((kit / "MANIFEST.json").read_text())
    content["files"][name] = {"bytes": 1, "sha256": "0"}
    (kit / "MANIFEST.json").write_text(json.dumps(content))
    with pytest.raises(BadDocument, match="outside the kit"):
        manifest.opened(kit)


def test_a_folder_that_is_no_kit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed("kit", "verify", tmp_path).refused(2, "there is no kit in")
    assert verify_kit.main([str(tmp_path)]) == 3
    assert "MANIFEST.json can't be read: No such file" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["one", "two"]])
def test_the_programs_of_a_kit_say_how_they_are_used(words: list[str], kit: Path) -> None:
    for program in ("verify_kit.py", "install_kit.py"):
        command = [sys.executable, "-I", kit / program, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=kit)
        assert (done.returncode, f"python -I {program} [" in done.stdout) == (2, True)
    assert not (kit / "--help").exists()


def test_a_signed_kit(kit: Path, tmp_path: Path) -> None:
    home, made = tmp_path / "home", keys.new("centre")
    keys.save(made, home, None)
    manifest.sign(kit, made)
    assert os.name != "posix" or {oct(path.stat().st_mode & 0o777) for path in kit.iterdir()} == {"0o644", "0o755"}
    assert "The signer is this site itself" in typed("kit", "verify", kit, RELAY_HOME=str(home)).out
    elsewhere = {"RELAY_HOME": str(tmp_path / "none")}
    assert "the signer is not known here" in typed("kit", "verify", kit, **elsewhere).err
    spoken = ["--fingerprint", made.identity.fingerprint]
    assert "It matches" in typed("kit", "verify", kit, *spoken, **elsewhere).out
    other = keys.new("centre").identity.fingerprint
    wrong = typed("kit", "verify", kit, "--fingerprint", other, **elsewhere)
    wrong.refused(3, "centre")
    assert "Signer: centre" in wrong.out
    assert "oordinator" not in wrong.out + wrong.err
    done = verifier(kit)
    assert (done.returncode, f"signed by centre: {made.identity.fingerprint}" in done.stdout) == (0, True), done.stdout
    (kit / "SIGNER.json").rename(tmp_path / "SIGNER.json")
    with pytest.raises(Incomplete, match=r"SIGNER\.json is missing"):
        manifest.opened(kit)
    assert verifier(kit).returncode == 3
    manifest.sign(kit, keys.new("centre"))
    shutil.copy(tmp_path / "SIGNER.json", kit)
    with pytest.raises(BadSignature):
        manifest.opened(kit)
    done = verifier(kit)
    assert (done.returncode, "was not signed with the keys in SIGNER.json" in done.stdout) == (3, True)


def test_the_verifier_verifies_signatures_as_cryptography_does() -> None:
    """Ed25519 in the standard library alone: RFC 8032's second and third vectors, keys of our own, and forgeries."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Private

    vectors = {
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb": "72",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7": "af82",
    }
    for secret, text in vectors.items():
        private, message = Private.from_private_bytes(bytes.fromhex(secret)), bytes.fromhex(text)
        key, signature = private.public_key().public_bytes_raw(), private.sign(message)
        assert verify_kit.is_signed(key, message, signature)
        larger = (int.from_bytes(signature[32:], "little") + verify_kit.Q).to_bytes(32, "little")
        for forged in (bytes(64), signature[:-1], signature[:32] + larger, signature[::-1], signature + b"x"):
            assert not verify_kit.is_signed(key, message, forged)
        assert not verify_kit.is_signed(key, message + b" ", signature)
        assert not verify_kit.is_signed(key[::-1], message, signature)
    neutral = (1).to_bytes(32, "little")  # with a key of small order, this would be a signature of any message
    assert not verify_kit.is_signed(neutral, b"anything", neutral + bytes(32))


def test_an_unsigned_kit_has_no_fingerprint_to_compare(kit: Path) -> None:
    fingerprint = keys.new("a").identity.fingerprint
    typed("kit", "verify", kit, "--fingerprint", fingerprint).refused(2, "is not signed")


# -- updating and installing -----------------------------------------------------------------------------------------


def test_an_update_carries_what_changed(kit: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(kit, tmp_path / "old"))
    (kit / "wheels/paint-1.0-py3-none-any.whl").rename(kit / "wheels/paint-2.0-py3-none-any.whl")
    (kit / "MANIFEST.json").unlink()
    manifest.written(kit, {"python": HERE, "platforms": ["linux_x86_64"], "relay": "2", "accelerator": "cpu"})
    done = typed("kit", "update", kit, "--against", old / "MANIFEST.json", "-o", tmp_path / "changes")
    assert done.code == 0, done.err
    assert "paint-1.0" in done.out
    assert "1 new or changed files: wheels/paint-2.0-py3-none-any.whl\n" in done.out
    carried = {path.name for path in (tmp_path / "changes").rglob("*") if path.is_file()}
    assert carried == {"paint-2.0-py3-none-any.whl", "MANIFEST.json", *building.PROGRAMS}
    shutil.copytree(tmp_path / "changes", old, dirs_exist_ok=True)
    told = verifier(old)
    assert told.returncode == 0, told.stdout
    assert "for example wheels/paint-1.0" in told.stdout
    with pytest.raises(UserError, match="not empty") as refused:
        updating.update(kit, old / "MANIFEST.json", kit)
    assert refused.value.advice() == "Give a new folder.", "they know how to update a kit"
    with pytest.raises(BadDocument):
        updating.update(kit, kit / "README.txt", tmp_path / "none")
    done = typed("kit", "update", kit, "--against", kit / "MANIFEST.json", "-o", tmp_path / "same")
    assert "0 new or changed files\nWith what every kit begins with (verify_kit.py, " in done.out
    assert len(list((tmp_path / "same").rglob("*.*"))) == len(building.PROGRAMS) + 1
    done = typed("kit", "update", kit, "--against", tmp_path / "nope.json", "-o", tmp_path / "none")
    done.refused(2, "there is no file", advice="MANIFEST.json of the earlier kit")


def test_the_installer_says_what_does_not_fit(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this, "system", lambda: "Linux")
    monkeypatch.setattr(this, "machine", lambda: "x86_64")
    assert install_kit.lock_for(kit, HERE).name == "linux_x86_64.txt"
    with pytest.raises(install_kit.CanNotInstall, match=r"for Python 3\.1"):
        install_kit.lock_for(kit, "3.1")
    monkeypatch.setattr(this, "machine", lambda: "riscv64")
    with pytest.raises(install_kit.CanNotInstall, match="for linux_x86_64, win_amd64; this is Linux riscv64"):
        install_kit.lock_for(kit, HERE)
    with pytest.raises(install_kit.CanNotInstall, match="already exists"):
        install_kit.environment(tmp_path)
    files = json.loads((kit / "MANIFEST.json").read_text())["files"]
    install_kit.make_room(tmp_path / "env", files)
    with pytest.raises(install_kit.CanNotInstall, match="there is no folder"):
        install_kit.make_room(tmp_path / "none" / "env", files)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(install_kit.CanNotInstall, match=r"has 0\.0 MB free"):
        install_kit.make_room(tmp_path / "env", files)
    with pytest.raises(UserError, match="the changes need"):
        updating.update(kit, kit / "MANIFEST.json", tmp_path / "changes")
    assert not (tmp_path / "changes").exists()
    monkeypatch.setattr(install_kit.subprocess, "run", lambda *args, **more: SimpleNamespace(returncode=1))
    with pytest.raises(install_kit.CanNotInstall, match="virtual environment"):
        install_kit.environment(tmp_path / "new")
    with pytest.raises(install_kit.CanNotInstall, match="pip could not"):
        install_kit.install(tmp_path, kit, kit)


def test_half_an_installation_is_not_left(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*args: object) -> None:
        raise install_kit.CanNotInstall("pip could not install", "Check the disk.")

    def ended(*args: object) -> None:
        raise KeyboardInterrupt

    def without_pip(command: list[str], **_: object) -> object:  # as on Debian, without python3-venv
        Path(command[-1]).mkdir()
        return SimpleNamespace(returncode=1)

    def ended_in_venv(command: list[str], **_: object) -> None:
        Path(command[-1]).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(install_kit, "HERE", kit)
    monkeypatch.setattr(install_kit, "lock_for", lambda *args: kit)
    with monkeypatch.context() as patch:
        patch.setattr(install_kit.subprocess, "run", without_pip)
        assert install_kit.main([str(tmp_path / "env")]) == 2
    assert not (tmp_path / "env").exists()
    with monkeypatch.context() as patch:
        patch.setattr(install_kit.subprocess, "run", ended_in_venv)
        with pytest.raises(KeyboardInterrupt):
            install_kit.main([str(tmp_path / "env")])
    assert not (tmp_path / "env").exists()
    monkeypatch.setattr(install_kit, "environment", lambda target: target.mkdir() or target / "bin/python")
    monkeypatch.setattr(install_kit, "install", failed)
    assert install_kit.main([str(tmp_path / "env")]) == 2
    assert not (tmp_path / "env").exists()
    monkeypatch.setattr(install_kit, "install", ended)
    with pytest.raises(KeyboardInterrupt):
        install_kit.main([str(tmp_path / "env")])
    assert not (tmp_path / "env").exists()


def test_every_platform_of_the_installer_is_one_of_the_kit() -> None:
    assert set(install_kit.SYSTEMS.values()) == set(platforms.PLATFORMS)
    for (system, machine), name in install_kit.SYSTEMS.items():
        said = platforms.PLATFORMS[name].markers
        assert (said["platform_system"], said["platform_machine"]) == (system, machine)


@pytest.mark.slow
@pytest.mark.skipif((this.system(), this.machine()) != ("Linux", "x86_64"), reason="the kit is for Linux")
def test_install_from_the_kit_by_its_own_script(kit: Path, tmp_path: Path) -> None:
    """With the installer that people start. pip installs from the lock alone, and in a network namespace without a
    device, where this system lets us make one."""
    shell = tmp_path / "bin"
    shell.mkdir()
    (shell / f"python{HERE}").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{shell}{os.pathsep}{os.environ['PATH']}"}
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    found = shutil.which("unshare")
    shut = found and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    command = [*(alone if shut else []), "sh", kit / "install.sh", tmp_path / "env"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import core, hello; print(core.VERSION, hello.VERSION)"
    ran = subprocess.run([tmp_path / "env/bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "1.0 1.0\n"
    flip(first_wheel(kit))
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 3
