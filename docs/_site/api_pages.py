"""Adds to each page of ``docs/reference/api`` what its room shows: the names in ``relay/<room>/__init__.pyi``.

A page is named after its room (or a module: ``registry.md`` is ``relay.registry``). It starts as any other page; the
docstrings of the room and of its public names follow, taken from the code when the site is built.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import relay

HOUSE = Path(relay.__file__).parent
FOLDER = "docs/reference/api/"
GROUPS = {"class": "Classes", "function": "Functions", "exception": "Errors", "data": "Values", "module": "Modules"}

SHARED = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*(?:\n\1 +\S.*)*)", re.MULTILINE)
"""``low, high: NaN where there are too few patients.``"""


def face(module: str) -> dict[str, str]:
    """The public names of a room, and the module that each is defined in; none if it has no face."""
    stub = HOUSE.joinpath(*module.split(".")[1:]) / "__init__.pyi"
    froms = ast.parse(stub.read_text()).body if stub.is_file() else []
    return {
        alias.name: f"{module}.{node.module or alias.name}"
        for node in froms
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def kind(thing: Any) -> str:
    """Which of Sphinx's directives documents it."""
    if isinstance(thing, ModuleType):
        return "module"
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if inspect.isroutine(thing) else "data"


def documentation(module: str) -> str:
    """What is added to a module's page: all it has, or, of a room with a face, what that shows."""
    shown = face(module)
    if not shown:
        return _directive("automodule", module, "members")
    room = import_module(module)
    kinds = {name: kind(getattr(room, name)) for name in shown}
    text = _directive("automodule", module)
    for group, heading in GROUPS.items():
        names = [name for name, its in kinds.items() if its == group]
        text += f"\n## {heading}\n" if names else ""
        for name in names:
            text += _entry(group, f"{module}.{name}", shown)
    return text


def _entry(group: str, name: str, shown: dict[str, str]) -> str:
    """One public name of a room. Of a module, what the face shows by itself is not said twice."""
    if group == "module":
        room, module = import_module(name.rpartition(".")[0]), import_module(name)
        doubled = ", ".join(word for word in shown if getattr(module, word, None) is getattr(room, word))
        return f"\n### `{name}`\n" + _directive("automodule", name, "members", f"exclude-members: {doubled}")
    if group == "data":
        return _value(name, shown)
    return _directive(f"auto{group}", name, *(["members"] if group != "function" else []))


def _value(name: str, shown: dict[str, str]) -> str:
    """A value has no docstring of its own: take the words below its definition, not its class's."""
    module, _, word = name.rpartition(".")
    words = ModuleAnalyzer.for_module(shown[word]).find_attr_docs().get(("", word), [])
    value = getattr(import_module(module), word)
    plain = isinstance(value, int | float | str | bytes | tuple) and len(repr(value)) < 80
    return _directive("py:data", word, f"module: {module}", *([f"value: {value!r}"] if plain else []), body=words)


def _directive(what: str, name: str, *options: str, body: Iterable[str] = ()) -> str:
    lines = [f".. {what}:: {name}", *(f"   :{option}{'' if ':' in option else ':'}" for option in options), ""]
    return "\n".join(["", "```{eval-rst}", *lines, *(f"   {line}" for line in body), "```", ""])


def _read(app: Any, page: str, source: list[str]) -> None:
    name = page.removeprefix(FOLDER)
    if page.startswith(FOLDER) and name != "README":
        source[0] += documentation(f"relay.{name}")


def _prepare(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """What napoleon reads otherwise than people: entries of two names, and a colon in what a property says."""
    lines[:] = SHARED.sub(_each, "\n".join(lines)).split("\n")
    if what in ("attribute", "property"):
        lines.insert(0, "\\")  # napoleon takes a first line up to its colon for a type; this one is empty once rendered


def _each(entry: re.Match[str]) -> str:
    indent, names, words = entry.groups()
    return "\n".join(f"{indent}{name}{words}" for name in names.split(", "))


@cache
def _in_faces() -> dict[str, str]:
    """What is defined inside a room, and the name that its face gives it."""
    rooms = [f"relay.{stub.parent.name}" for stub in HOUSE.glob("*/__init__.pyi")]
    return {f"{module}.{name}": f"{room}.{name}" for room in rooms for name, module in face(room).items()}


def _find_in_face(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Signatures and docstrings name the module that defines a thing; its page has it under the room's own name."""
    if node.get("refdomain") == "py" and (name := _in_faces().get(node.get("reftarget", ""))):
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, text)
    return None


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # before napoleon
    app.connect("missing-reference", _find_in_face)
    return {"parallel_read_safe": True}
