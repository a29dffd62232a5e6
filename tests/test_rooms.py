"""Each room is entered by its face, and imports go downwards only (docs/explanation/the-house.md)."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.rooms import FACES, MODULES, ROOMS, ROOT, imports, room_of

FLOORS = (
    {"errors", "installed", "numbers", "palette", "parts", "phase", "screen", "seeds", "statistics"},
    {"files", "registry", "signatures", "tensorfile"},
    {"locks", "logs", "metrics"},
    {"tasks"},
    {"config", "home", "results"},
    {"augment", "noise", "postprocess"},
    {"data", "handover", "losses", "measures", "nets", "optim", "trust"},
    {"bundle", "memory", "merge", "overlay", "plan"},
    {"exchange"},
    {"leg", "rehearse"},
    {"adopt"},
    {"models", "predict", "report", "score", "simulate"},
    {"papers"},
    {
        "compare",
        "correct",
        "dossier",
        "doctor",
        "explain",
        "export",
        "kit",
        "own_code",
        "network",
        "privacy",
        "protection",
        "start",
        "subgroups",
        "survey",
    },
    {"app", "bulk"},
    {"cli"},
    {"__main__"},
)
"""What stands on what, the ground first. A module may import from floors below its own, and from its own room."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
IMPORTS = sorted(
    (importer, module, name)
    for importer, path in MODULES.items()
    for module, name in imports(path)
    if module.split(".")[0] == "relay"
)


def test_every_room_has_a_floor() -> None:
    assert {room_of(name) for name in MODULES} - {""} == set(FLOOR)


def test_imports_go_downwards() -> None:
    wrong = []
    for importer, module, name in IMPORTS:
        mine, theirs = room_of(importer), room_of(module) or name
        if mine and theirs in FLOOR and mine != theirs and FLOOR[theirs] >= FLOOR[mine]:
            wrong.append(f"{importer} imports {module} {name}")
    assert not wrong


def test_a_room_is_entered_by_its_face() -> None:
    wrong = [
        f"{importer} imports {name} from {module}"
        for importer, module, name in IMPORTS
        if importer != "relay.__main__"
        and room_of(module) in ROOMS
        and room_of(module) != room_of(importer)
        and module.count(".") > 1
    ]
    assert not wrong, "name it in the room's __init__.pyi, and import it from the room"


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"cli"}))
def test_a_face_shows_what_is_there(room: str) -> None:
    shown = import_module(f"relay.{room}")
    assert sorted(shown.__all__) == sorted(FACES[room])
    for name, module in FACES[room].items():
        assert getattr(shown, name) is not None
        assert module in MODULES
        assert name not in {path.stem for path in (ROOT / room).glob("*.py")} or module.endswith(f".{name}"), (
            f"{name} is a module of {room}, too: importing it would hide what the face shows"
        )
