"""Check plain values against an ``@options`` dataclass, and say what is wrong in words.

pydantic finds the errors; here each becomes a :class:`relay.errors.Problem` with the path in the user's own
file, the value, what is allowed and the nearest known key.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from relay.errors import Problem, nearest

T = TypeVar("T")
Where = Callable[[Sequence[object]], str]


def dotted(parts: Sequence[object]) -> str:
    """``("a", 0, "b")`` as ``a[0].b``."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")


def check(schema: type[T], value: Any, where: Where = dotted) -> tuple[T | None, list[Problem]]:
    """``value`` as an instance of ``schema``, or None and all the problems in it.

    Args:
        schema: a class made with ``@options``.
        value: plain dicts, lists and scalars, as from YAML.
        where: turns a path inside ``value`` into the path the user knows.
    """
    try:
        return TypeAdapter(schema).validate_python(value), []
    except ValidationError as error:
        found = [_problem(schema, e, where) for e in error.errors(include_url=False)]
        return None, found


def _problem(schema: type, error: Any, where: Where) -> Problem:
    loc = [part for part in error["loc"] if not _is_branch(part)]
    known = _keys(schema, loc[:-1])
    kind, value = error["type"], error["input"]
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        allowed = f"unknown key; allowed: {', '.join(known) or 'none'}"
        return Problem(where(loc), _short(value), allowed, nearest(str(loc[-1]), known))
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return Problem(where(loc), None, "must be given")
    context = error.get("ctx", {})
    near = None
    if kind == "literal_error" and isinstance(value, str):
        near = nearest(value, [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")])
    text = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(where(loc), _short(value), f"must be {text}" if "Input should be" in error["msg"] else text, near)


def _is_branch(part: object) -> bool:
    """pydantic names the branch of a union inside the path: ``int``, ``list[int]``, ``constrained-int``."""
    return isinstance(part, str) and (
        part in {"int", "float", "str", "bool", "none"}
        or part.startswith(("list[", "tuple[", "dict[", "literal[", "constrained-", "function-"))
    )


def _short(value: Any) -> Any:
    text = repr(value)
    return value if len(text) <= 80 else text[:77] + "..."


def _keys(schema: Any, path: Sequence[object]) -> list[str]:
    """The keys allowed at a path below ``schema``; empty where it is not a dataclass."""
    for part in path:
        if not dataclasses.is_dataclass(schema):
            return []
        hints = typing.get_type_hints(schema)
        schema = hints.get(str(part))
        arms = [a for a in typing.get_args(schema) if dataclasses.is_dataclass(a)]
        schema = arms[0] if arms else schema
    return [f.name for f in dataclasses.fields(schema)] if dataclasses.is_dataclass(schema) else []
