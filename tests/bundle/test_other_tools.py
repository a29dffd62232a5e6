"""Other people's tools read what relay writes: age, unzip, sha256sum, and securesystemslib alone."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.bundle.manifest import MODEL, RESULTS, STATEMENT
from tests.relays import At, World, taken_apart, unsealed

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "verify_with_securesystemslib.py"


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    return path


def runs(*command: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def world(at: At) -> World:
    return at(3)


@pytest.fixture
def bare(world: World) -> Path:
    """The bundle of leg 3, taken out of its seal."""
    path = world.folder / "bare.zip"
    path.write_bytes(unsealed(world.bundle(3).read_bytes(), world.keys["north"]))
    return path


@pytest.fixture
def unpacked(bare: Path) -> Path:
    folder = bare.with_name("unpacked")
    if unzip := shutil.which("unzip"):
        assert runs(unzip, "-q", bare, "-d", folder).returncode == 0
    else:
        for name, data in taken_apart(bare.read_bytes()).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return folder


def test_age_opens_the_seal(world: World, bare: Path) -> None:
    secret = world.folder / "key.txt"
    secret.write_text(json.loads((world.folder / "north" / "keys.json").read_bytes())["sealing"] + "\n")
    opened = world.folder / "opened.zip"
    done = runs(tool("age"), "-d", "-i", secret, "-o", opened, world.bundle(3))
    assert done.returncode == 0, done.stderr
    assert opened.read_bytes() == bare.read_bytes()


def test_relay_opens_what_age_has_sealed(world: World, bare: Path) -> None:
    path = world.stick / "by-age.relay.age"
    to = [word for name in ("north", "south") for word in ("-r", world.keys[name].identity.sealing)]
    done = runs(tool("age"), *to, "-o", path, bare)
    assert done.returncode == 0, done.stderr
    assert world.deliver(path, "north").claim.leg == 3


def test_unzip_tests_it(bare: Path) -> None:
    done = runs(tool("unzip"), "-t", bare)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout


def test_unzip_unpacks_the_same(world: World, bare: Path) -> None:
    folder = bare.with_name("by_unzip")
    assert runs(tool("unzip"), "-q", bare, "-d", folder).returncode == 0
    there = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert there == world.opened(3)


@pytest.mark.parametrize("leg", ["", "chain/0001", "chain/0002"])
def test_sha256sum_checks_the_manifest(leg: str, unpacked: Path) -> None:
    """Of an earlier leg, too: of what is still there."""
    done = runs(tool("sha256sum"), "--strict", "--ignore-missing", "-c", "manifest-sha256.txt", folder=unpacked / leg)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{RESULTS}: OK" in done.stdout


def test_sha256sum_checks_every_file(unpacked: Path) -> None:
    done = runs(tool("sha256sum"), "--strict", "-c", "manifest-sha256.txt", folder=unpacked)
    assert done.returncode == 0, done.stdout + done.stderr
    there = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    listed = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert there - listed == {"statement.dsse.json", "manifest-sha256.txt"}
    (unpacked / MODEL).write_bytes(b"other")
    assert runs(tool("sha256sum"), "-c", "manifest-sha256.txt", folder=unpacked).returncode != 0


def test_securesystemslib_alone_verifies_statement_and_chain(world: World, unpacked: Path) -> None:
    key = world.coordinator.identity.signing
    done = runs(sys.executable, "-I", SCRIPT, unpacked, key)
    assert done.returncode == 0, done.stderr
    assert [line[: line.index(":")] for line in done.stdout.splitlines()] == [
        "leg 1 by north",
        "leg 2 by south",
        "leg 3 by east",
    ]
    assert world.stores["east"].ledger.record().signed[3].statement in done.stdout


@pytest.mark.parametrize("name", [STATEMENT, f"chain/0001/{STATEMENT}", "rosters/0001.dsse.json", "other coordinator"])
def test_and_refuses_what_was_changed(name: str, world: World, unpacked: Path) -> None:
    key = world.coordinator.identity.signing
    if name == "other coordinator":
        key = world.keys["east"].identity.signing
    else:
        envelope = json.loads((unpacked / name).read_bytes())
        envelope["payload"] = ("B" if envelope["payload"][40] == "A" else "A").join(
            [envelope["payload"][:40], envelope["payload"][41:]]
        )
        (unpacked / name).write_text(json.dumps(envelope))
    assert runs(sys.executable, "-I", SCRIPT, unpacked, key).returncode != 0


def test_the_script_stands_alone() -> None:
    """At most twenty lines of code below its imports; nothing but securesystemslib and the standard library."""
    tree = ast.parse(SCRIPT.read_text())
    imported = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == {"securesystemslib"}
    lines = {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom)
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
    assert len(lines) <= 20
