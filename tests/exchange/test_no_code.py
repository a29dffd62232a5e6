"""Nothing that came from another site is ever unpickled, imported or executed."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

from relay.bundle.manifest import (
    CONFIG,
    CUMULATIVE,
    DATA_CARD,
    EXPERT,
    HANDOVER,
    MEMORY,
    MODEL,
    MODEL_CARD,
    RESULTS,
    card_of,
)
from relay.trust.document import digest
from relay.trust.refusals import BadContainer, BadDocument, Refused
from tests import rooms
from tests.relays import At, World, contents, remembered

MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "importlib",
    "runpy",
    "imp",
    "code",
    "ctypes",
}
MODULES |= {"subprocess", "pty", "multiprocessing", "pkgutil", "zipimport", "webbrowser", "socket", "urllib", "http"}
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
CALLS = {"os.system", "os.popen", "os.startfile", "torch.load", "torch.jit.load", "torch.hub", "numpy.load", "np.load"}
CALLS |= {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "torch.package", "pd.read_pickle"}


def reached() -> dict[str, Path]:
    """Every module that the rooms of the hand-over import, at its top or in a function, and so on."""
    found: dict[str, Path] = {}
    todo = [name for name in rooms.MODULES if rooms.room_of(name) in ("trust", "bundle", "exchange")]
    while todo:
        name = todo.pop()
        if name in rooms.MODULES and name not in found:
            found[name] = rooms.MODULES[name]
            todo += [rooms.target(*pair) for pair in rooms.imports(found[name])]
    return found


MINE = reached()


def test_the_walk_gets_somewhere() -> None:
    assert {"relay.exchange.rules", "relay.bundle.container", "relay.files", "relay.config.checking"} <= set(MINE)
    assert len(MINE) > 25
    assert not [
        name for name in MINE if name.startswith(("relay.strategies", "relay.datasets", "relay.leg", "relay.cli"))
    ]


ALLOWED = {
    "relay.trust.keys": {"ctypes"},  # one call of prctl, whose arguments are constants
    "relay.registry": {"importlib"},  # finds plug-ins by names of the user's own config; the metrics of a task need it
}


@pytest.mark.parametrize("name", MINE)
def test_no_module_that_runs_what_it_reads(name: str) -> None:
    allowed = ALLOWED.get(name, set())
    assert not {module.split(".")[0] for module, _ in rooms.imports(MINE[name])} & MODULES - allowed


@pytest.mark.parametrize("name", MINE)
def test_no_call_that_does(name: str) -> None:
    for node in ast.walk(ast.parse(MINE[name].read_text())):
        if isinstance(node, ast.Name):
            assert node.id not in NAMES, f"{name}, line {node.lineno}: {node.id}"
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            assert text not in CALLS, f"{name}, line {node.lineno}: {text}"
            assert not text.startswith(("os.exec", "os.spawn", "os.fork", "torch.ops", "sys.modules")), text


@pytest.mark.parametrize("word", ["re.compile"])
def test_the_words_are_looked_for_in_the_right_way(word: str) -> None:
    """``re.compile`` is not ``compile``; the walk would see the latter."""
    tree = ast.parse(f"{word}('x')\ncompile('x')")
    assert [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in NAMES] == ["compile"]


# -- hostile bundles ---------------------------------------------------------------------------------------------------


class Bomb:
    """What pickle does with it: write the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def torch_saved(bomb: Bomb) -> bytes:
    target = io.BytesIO()
    torch.save({"w": bomb}, target)
    return target.getvalue()


def hostile(canary: Path) -> dict[str, tuple[str, bytes]]:
    """Name of the entry, and what is in it."""
    bomb, shell = Bomb(canary), f"touch {canary}"
    code = f"import os; os.system('{shell}')\n".encode()
    return {
        "a pickle as model": (MODEL, pickle.dumps(bomb)),
        "torch.save as model": (MODEL, torch_saved(bomb)),
        "a pickle as memory": (MEMORY, pickle.dumps(bomb, protocol=0)),
        "a pickle as cumulative memory": (CUMULATIVE, pickle.dumps(bomb)),
        "torch.save as cumulative memory": (CUMULATIVE, torch_saved(bomb)),
        "a pickle as expert": (EXPERT, pickle.dumps(bomb)),
        "torch.save as expert": (EXPERT, torch_saved(bomb)),
        "Python as a memory's card": (card_of(MEMORY), code),
        "YAML tags as carry": (HANDOVER, f"!!python/object/apply:os.system ['{shell}']".encode()),
        "YAML tags as config": (CONFIG, f"!!python/object/apply:os.system ['{shell}']".encode()),
        "a shell line as results": (RESULTS, f"$({shell})".encode()),
        "Python as data card": (DATA_CARD, code),
        "HTML as model card": (MODEL_CARD, f"<script>{shell}</script>\n`{shell}`\n$({shell})".encode()),
        "a module": ("relay/__init__.py", code),
        "sitecustomize": ("sitecustomize.py", code),
        "a path file": ("evil.pth", b"import os; " + code),
        "a checkpoint": ("last.ckpt", pickle.dumps(bomb)),
        "a plug-in": ("strategies/evil.py", code),
    }


KINDS = list(hostile(Path("canary")))


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_bundles(kind: str, at: At, tmp_path: Path) -> None:
    """Signed by north with its own good key; whether refused or taken in, nothing of it has run."""
    canary = tmp_path / "canary"
    name, data = hostile(canary)[kind]
    world = at(0 if name == CUMULATIVE else 1)
    if name == CUMULATIVE:
        world.make(1, cumulative=remembered(1))
    with world.forged(1, signer="north") as parts:
        parts.files[name] = data
        parts.claim["config"] = digest(parts.files[CONFIG])  # so that this is no reason to refuse
    modules, before = set(sys.modules), contents(world.folder / "south")
    taken_in = False
    with contextlib.suppress(BadContainer, BadDocument):
        world.deliver(parts.bundle, "south")
        taken_in = True
    assert taken_in or contents(world.folder / "south") == before
    assert not canary.exists()
    assert not {m for m in set(sys.modules) - modules if "evil" in m or "sitecustomize" in m}


@pytest.mark.parametrize("text", ["$(touch {})", "`touch {}`", "; touch {}", "| touch {}", "!!python/name:os.system"])
@pytest.mark.parametrize("place", ["strategy", "site", "study", "code"])
def test_hostile_words(text: str, place: str, at: At, tmp_path: Path) -> None:
    world, canary = at(1), tmp_path / "canary"
    with world.forged(1, signer="north") as parts:
        word = text.format(canary)
        parts.claim[place] = {"relay": word, "torch": word} if place == "code" else word
    with pytest.raises(Refused):
        world.deliver(parts.bundle, "south")
    assert not canary.exists()


def test_the_bombs_are_live(tmp_path: Path) -> None:
    """Or else nothing was shown: unpickled, they do write the canary."""
    pickle.loads(hostile(tmp_path / "canary")["a pickle as model"][1])
    assert (tmp_path / "canary").exists()


def test_links_and_folders_on_the_way_in(at: At, tmp_path: Path) -> None:
    """Where files are unpacked, somebody has laid a link: it is not followed."""
    world: World = at(1)
    outside = tmp_path / "outside"
    outside.mkdir()
    part = world.stores["south"].folder / ".receiving"
    part.symlink_to(outside)
    with contextlib.suppress(OSError):
        world.deliver(world.bundle(1), "south")
    assert list(outside.iterdir()) == []


def test_the_hand_over_never_asks_the_registry() -> None:
    """A name in a bundle must not choose what is imported."""
    for name, path in MINE.items():
        if rooms.room_of(name) in ("trust", "bundle", "exchange"):
            assert "relay.registry" not in {rooms.target(*pair) for pair in rooms.imports(path)}, name
