"""Check plain values against an ``@options`` dataclass, and explain what is wrong in plain words.

pydantic finds the errors. This module turns each into a :class:`relay.errors.Problem` with the path in the user's
own file, the value, what is allowed and the nearest known key.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from relay.config.text import meaning
from relay.errors import LONG, Problem, nearest

T = TypeVar("T")
WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
}
"""What pydantic's error types expect, in words."""
Where = Callable[[Sequence[object]], str]


def dotted(parts: Sequence[object]) -> str:
    """``("a", 0, "b")`` as ``a[0].b``."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")


def holds(tree: Any, path: Sequence[object]) -> bool:
    """Whether there is something, be it null, at a path of keys and places in lists."""
    for part in path:
        inside = isinstance(tree, Mapping) and part in tree
        listed = isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        if not (inside or listed):
            return False
        tree = tree[part]
    return True


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined with dots; an empty mapping stays a value."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        out.update(flat(value, path + ".") if isinstance(value, Mapping) and value else {path: value})
    return out


def check(schema: type[T], value: Any, where: Where = dotted) -> tuple[T | None, list[Problem]]:
    """``value`` as an instance of ``schema``; or None, with all the problems in it.

    Args:
        schema: a class made with ``@options``.
        value: plain dicts, lists and scalars, as from YAML.
        where: turns a path inside ``value`` into the path the user knows.
    """
    try:
        # for JSON, strict means JSON's own types: a list may become a tuple and 1 a float, nothing else is converted
        return _adapter(cast(Hashable, schema)).validate_json(json.dumps(value, default=_plain), strict=True), []
    except ValidationError as error:
        return None, [_problem(schema, e, where) for e in _once_a_list(error.errors(include_url=False))]


def _once_a_list(errors: Sequence[Any]) -> list[Any]:
    """pydantic's errors, but of the items that a list of fixed length lacks only the last."""
    after = [*errors[1:], {"loc": ()}]
    return [e for e, then in zip(errors, after, strict=True) if not (_lacks(e) and e["loc"][:-1] == then["loc"][:-1])]


def _lacks(error: Any) -> bool:
    return error["type"] == "missing" and isinstance(error["input"], list)


def _plain(value: Any) -> Any:
    """A dataclass or a path inside the values, in JSON form."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else os.fspath(value)  # type: ignore[arg-type]


def _problem(schema: type, error: Any, where: Where) -> Problem:
    loc = [part for part in error["loc"] if not _is_branch(part)]
    known = _keys(schema, loc[:-1])
    kind, value = error["type"], error["input"]
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        allowed = f"unknown key; allowed: {', '.join(known) or 'none'}"
        return Problem(where(loc), _short(value), allowed, nearest(str(loc[-1]), known))
    context = error.get("ctx", {})
    if _lacks(error):
        return Problem(where(loc[:-1]), _short(value), f"must have {loc[-1] + 1} items, not {len(value)}")
    if kind in {"too_short", "too_long"} and isinstance(value, list):
        most, many = kind == "too_long", context["max_length" if kind == "too_long" else "min_length"]
        items = "1 item" if many == 1 else f"{many} items"
        return Problem(
            where(loc), _short(value), f"must have at {'most' if most else 'least'} {items}, not {len(value)}"
        )
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        beside = ", ".join(map(str, value)) if isinstance(value, dict) else ""
        return Problem(where(loc), None, "must be given" + (f", beside {beside}" if beside else ""))
    near = None
    if kind == "literal_error" and isinstance(value, str):
        near = nearest(value, [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")])
    if kind in WANTED:
        return Problem(where(loc), _short(value), f"must be {WANTED[kind]}{_cure(kind, value)}")
    if kind == "string_pattern_mismatch":
        return Problem(where(loc), _short(value), f"must match the pattern {context['pattern']}")
    if kind == "literal_error" and (swapped := _swapped(value, context["expected"])):
        return Problem(where(loc), _short(value), f"must be {context['expected']}: {swapped}")
    text = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(where(loc), _short(value), f"must be {text}" if "Input should be" in error["msg"] else text, near)


def _cure(kind: str, value: Any) -> str:
    """How to turn the value into what is expected, if that is obvious."""
    if WANTED[kind] == "a list":
        return ""
    if isinstance(value, str):
        try:
            said = meaning(value.strip())
        except ValueError as error:
            return f"; {error}" if kind != "string_type" else ""
        wanted = bool if kind == "bool_type" else int if kind.startswith("int") else (int, float)
        fits = isinstance(said, wanted) and (kind == "bool_type" or not isinstance(said, bool))
        env = " (from the environment: ${oc.decode:${oc.env:NAME}})"
        return f": remove the quotes, write {value.strip()}{env}" if fits else ""
    if kind == "string_type" and isinstance(value, bool | int | float):
        word = str(value).lower() if isinstance(value, bool) else str(value)
        return f": quote it, '{word}'"
    if kind.startswith("int") and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f": write {int(value)}"
    return ""


def _swapped(value: Any, expected: str) -> str | None:
    """A fix if only quotes are missing or superfluous: ``expected`` is ``16, 32 or 'bf16'``."""
    words = expected.replace(" or ", ", ").split(", ")
    if isinstance(value, str) and value in words:
        return f"remove the quotes, write {value}"
    if not isinstance(value, str) and f"'{value}'" in words:
        return f"quote it, '{value}'"
    return None


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    """pydantic's validator for a schema; building one takes longer than using it."""
    return TypeAdapter(schema)


def _is_branch(part: object) -> bool:
    """Whether a part of a path is pydantic's name of a union's branch: ``int``, ``list[int]``, ``constrained-int``."""
    return isinstance(part, str) and (
        part in {"int", "float", "str", "bool", "none"}
        or part.startswith(("list[", "tuple[", "dict[", "literal[", "constrained-", "function-"))
    )


def _short(value: Any) -> Any:
    text = repr(value)
    if len(text) <= 80:
        return value
    return LONG if isinstance(value, list | dict) else text[:77] + "..."


def _keys(schema: Any, path: Sequence[object]) -> list[str]:
    """The keys allowed at a path below ``schema``; empty if it is not a dataclass."""
    for part in path:
        if not dataclasses.is_dataclass(schema):
            return []
        hints = typing.get_type_hints(schema)
        schema = hints.get(str(part))
        arms = [a for a in typing.get_args(schema) if dataclasses.is_dataclass(a)]
        schema = arms[0] if arms else schema
    return [f.name for f in dataclasses.fields(schema)] if dataclasses.is_dataclass(schema) else []
