"""The rooms of the house: its modules, what each imports, and what the faces of the rooms show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import relay

ROOT = Path(relay.__file__).parent
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def room_of(name: str) -> str:
    """``relay.trust.keys`` → ``trust``; ``relay.errors`` → ``errors``."""
    return ([*name.split("."), ""])[1]


def modules() -> dict[str, Path]:
    """Every module of ``relay``, by its dotted name."""
    files = {path: path.relative_to(ROOT.parent).with_suffix("") for path in ROOT.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for path, name in files.items()}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """What a file imports, at its top or in a function: the module, and the name that is taken from it.

    What it imports from its own folder (``from .base import``) is its room's own business.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module or "", alias.name) for alias in node.names)


def face(room: str) -> dict[str, str]:
    """What a room shows, and the module that it is in: by the room's ``__init__.pyi``."""
    stub = ROOT / room / "__init__.pyi"
    shown: dict[str, str] = {}
    for node in ast.parse(stub.read_text()).body if stub.is_file() else []:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 1
        for alias in node.names:
            shown[alias.name] = f"relay.{room}.{node.module or alias.name}"
    return shown


FACES = {room: face(room) for room in ROOMS}


def target(module: str, name: str) -> str:
    """The module that an import is of, in the end."""
    if module.count(".") == 1 and (found := FACES.get(room_of(module), {}).get(name)):
        return found
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


MODULES = modules()
