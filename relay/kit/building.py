"""Build a kit: wheels for each system, a lock with their hashes, the installers, the configs and the docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

import relay
from relay.errors import RelayError, UserError
from relay.files import disk_full, expanded, write_bytes, write_text
from relay.installed import ourselves
from relay.kit import manifest, verify_kit, wheels
from relay.kit.platforms import Platform
from relay.trust import stamp

HERE = Path(__file__).parent
PROGRAMS = ("verify_kit.py", "install_kit.py", "install.sh", "install.bat")
SOURCES = ("relay", "configs", "datasets", "strategies", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
LOCK = "constraints.txt"
ROOM = "Make room there, or name a folder on another disk (-o FOLDER). Then run the same command again, from the start."
README = """relay {relay}, for Python {python} on {platforms}. Nothing here needs a network.

1. Compare the digest of verify_kit.py with the one you were given:
     sha256sum verify_kit.py     (macOS: shasum -a 256; Windows: certutil -hashfile verify_kit.py SHA256)
2. Verify the kit, and compare the words by voice:
     python -I verify_kit.py
3. Install relay into a folder of its own:
     sh install.sh relay-env     (Windows: install.bat relay-env)
4. Check this computer:
     relay-env/bin/relay doctor --selftest     (Windows: relay-env\\Scripts\\relay doctor --selftest)

configs/ has the configs that come with relay, added/ what was added to them: a study's config, pretrained weights.
docs/ has the documentation if it was built: open docs/index.html.
"""


@dataclass(frozen=True)
class Order:
    """What a kit is to hold.

    Attributes:
        requirements: what to install, as pip takes it: at least relay's wheel.
        python: the version of Python it is for, such as ``3.11``.
        accelerator: ``cpu``, a label of PyTorch's builds such as ``cu126``, or ``default`` for whatever the index has.
        indexes: further indexes (URLs) and folders of wheels.
        lock: a constraints file; None for none.
        docs: the folder of the built docs; None for none.
        added: further files and folders, such as a study's config and pretrained weights.
    """

    requirements: Sequence[str]
    platforms: Sequence[Platform]
    python: str
    accelerator: str = "cpu"
    indexes: Sequence[str] = field(default_factory=tuple)
    lock: Path | None = None
    docs: Path | None = None
    added: Sequence[Path] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        admitted = ourselves().metadata["Requires-Python"] or ""
        if not re.fullmatch(r"3\.\d+", self.python) or not SpecifierSet(admitted).contains(f"{self.python}.0"):
            raise UserError(
                f"--python {self.python}: must be a version that relay admits ({admitted}), without a patch number, "
                "such as 3.11"
            )
        if not re.fullmatch(r"default|cpu|cu\d{3}|rocm\d(\.\d)*|xpu", self.accelerator):
            raise UserError(
                f"--accelerator {self.accelerator}: must be cpu, default, or a label of PyTorch's builds",
                "For an NVIDIA GPU, such as cu126: relay doctor shows the CUDA version of that machine's driver.",
            )
        if gone := [path for path in self.added if not path.exists()]:
            raise UserError(f"--add {gone[0]}: there is no such file or folder", "Correct the path.")
        if lost := [index for index in self.indexes if "://" not in index and not expanded(index).is_dir()]:
            raise UserError(f"--index {lost[0]}: there is no such folder", "Correct the path, or give a URL: https://…")

    def asked(self, platform: Platform) -> list[str]:
        """The requirements for a system: torch by its build there, too."""
        label = torch_label(platform, self.accelerator)
        return [*self.requirements, *([f"torch=={self._torch()}+{label}"] if label else [])]

    def _torch(self) -> str:
        """The version of torch in the lock, else of the one that is installed here, without a label."""
        found = re.search(r"^torch==([\w.]+)", self.lock.read_text() if self.lock else "", re.MULTILINE)
        return found[1] if found else version("torch").partition("+")[0]


def build(order: Order, folder: Path, now: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """Build a kit in a new or empty folder; return its manifest.

    Args:
        now: the time, an aware :class:`datetime.datetime`.
        say: told what is being done.

    Raises:
        UserError: the folder has files, wheels can't be had, or a file can't be on a FAT32 stick.
        RelayError: pip failed.
    """
    manifest.check_empty(folder)
    try:
        for platform in order.platforms:
            say(f"Downloading wheels for {platform.name}, Python {order.python} …")
            _add_wheels(order, platform, folder)
        about = {
            "relay": relay.__version__,
            "python": order.python,
            "platforms": [platform.name for platform in order.platforms],
            "accelerator": order.accelerator,
            "created": stamp(now),
        }
        _add_programs(folder, about)
        _add_texts(order, folder)
        return manifest.written(folder, about)
    except BaseException as error:
        full = disk_full(error, folder) if isinstance(error, OSError) else None  # before there is room again
        shutil.rmtree(folder, ignore_errors=True)  # half a kit would only be in the way
        if full is None:
            raise
        raise RelayError(f"{full}. The half kit has since been removed", ROOM) from error


def torch_label(platform: Platform, accelerator: str) -> str | None:
    """The label of torch's build for an accelerator; None where the usual index has the right one.

    Linux's torch on the usual index brings CUDA's libraries, so its CPU build must be asked for; Windows' and macOS's
    is the CPU build.
    """
    system = platform.markers["sys_platform"]
    usual = accelerator == "default" or system == "darwin" or (accelerator, system) == ("cpu", "win32")
    return None if usual else accelerator


def _add_wheels(order: Order, platform: Platform, folder: Path) -> None:
    """Download the wheels of a system, move them beside those of the others, and write their lock."""
    with tempfile.TemporaryDirectory(prefix="relay-kit-", dir=_near(folder)) as name:
        got = wheels.download(order.asked(platform), platform, order.python, Path(name), order.lock, order.indexes)
        write_text(folder / "locks" / f"{platform.name}.txt", wheels.lock_lines(got))
        for wheel in got:
            target = folder / "wheels" / wheel.name
            if target.exists() and verify_kit.sha256(target) != verify_kit.sha256(wheel):
                raise RelayError(
                    f"two different files are called {wheel.name}: one of {platform.name}, one of an earlier platform",
                    "Build a kit for each platform.",
                )
            target.parent.mkdir(exist_ok=True)
            shutil.move(wheel, target)


def _near(folder: Path) -> Path:
    """An existing folder on the same disk, so that wheels are moved and not copied."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _add_programs(folder: Path, about: dict[str, Any]) -> None:
    """The verifier and the installer, unchanged; what starts the installer, with the Python of this kit."""
    for name in PROGRAMS:
        data = (HERE / name).read_bytes()
        if not name.endswith(".py"):
            data = data.replace(b"@PYTHON@", about["python"].encode())
        write_bytes(folder / name, data.replace(b"\n", b"\r\n") if name.endswith(".bat") else data)
    text = README.format(**{**about, "platforms": ", ".join(about["platforms"])})
    write_text(folder / "README.txt", text)
    write_bytes(folder / verify_kit.WORDS, (files("mnemonic") / "wordlist" / "english.txt").read_bytes())


def _add_texts(order: Order, folder: Path) -> None:
    """The configs and the docs, without hidden files, and what was added."""
    places = {"configs": Path(str(files("relay.configs"))), "docs": order.docs}
    for name, source in places.items():
        if source is not None:
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.py"))
    for path in order.added:
        target = folder / "added" / path.name
        if target.exists():
            raise UserError(f"--add {path}: another file or folder is called {path.name}, too", "Rename one of them.")
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)


def source_folder() -> Path | None:
    """Where relay's sources are; None if it was installed from a wheel."""
    folder = Path(relay.__file__).parents[1]
    return folder if all((folder / name).exists() for name in SOURCES) else None


def own_wheel(folder: Path) -> Path:
    """Build the wheel of relay itself from its sources, in a copy that no earlier build has touched.

    Raises:
        UserError: relay was installed from a wheel.
        RelayError: it can't be built.
    """
    source = source_folder()
    if source is None:
        raise UserError(
            "relay is installed from a wheel here, so its own wheel can't be built",
            f"Give the wheel you installed it from: --wheel relay_learning-{relay.__version__}-py3-none-any.whl",
        )
    copy = folder / "source"
    skip = shutil.ignore_patterns("__pycache__", ".*")
    for name in (*SOURCES, LOCK):
        path = source / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=skip)
        else:
            shutil.copy(path, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise wheels.disk_is_full(done.stderr, folder) or RelayError(
            f"relay's own wheel could not be built:\n  {wheels.said_by_pip(done.stderr)}",
            "Check this machine's network and pip's settings, or give a wheel: --wheel FILE",
        )
    return next(folder.glob("relay_learning-*.whl"))
