"""What a class made with ``@options`` takes, in words: for ``relay list`` and docs/reference/config.md."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from relay.config.schema import Named

TYPES = {"integer": "int", "number": "float", "string": "text", "boolean": "true or false", "null": "null"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
YAML = {None: "null", True: "true", False: "false", "": "(empty)"}


@dataclass(frozen=True)
class Option:
    """One key: its type and range, its default (None if it must be given), what it means, and the values it may have
    where they are few."""

    name: str
    kind: str
    default: str | None
    meaning: str
    choices: tuple[str, ...] = ()


def describe(schema: type) -> list[Option]:
    """The keys of a class made with ``@options``, in their order."""
    meanings = {key: said for base in reversed(schema.__mro__) for key, said in _meanings(base).items()}
    try:
        kinds = TypeAdapter(schema).json_schema().get("properties", {})
    except PydanticInvalidForJsonSchema:  # a plug-in's own type that has no JSON schema
        kinds = {}
    return [
        Option(
            field.name,
            _kind(kinds.get(field.name, {}), str(field.type)),
            _default(field),
            meanings.get(field.name, ""),
            _choices(kinds.get(field.name, {})),
        )
        for field in dataclasses.fields(schema)
    ]


def summary(thing: Any) -> str:
    """The first paragraph of its own docstring, without a list such as ``Attributes``."""
    return plain(re.split(r"\n(?:\n|\w+:\n)", inspect.cleandoc(thing.__doc__ or ""))[0])


def plain(text: str) -> str:
    """A docstring's words on one line, with Markdown's marks."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(text.split()).replace("``", "`"))


def _meanings(cls: type) -> dict[str, str]:
    """What a docstring's ``Attributes`` says about each key."""
    _, _, listed = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", listed, re.S | re.M)
    return {name: plain(words) for name, words in found}


def _kind(schema: Mapping[str, Any], otherwise: str = "anything") -> str:
    """A JSON schema in words; lists that may be of any length say of what, others what is in each place."""
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(_yaml(value) for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/")[-1]
        return "name and kwargs" if name == Named.__name__ else f"block `{name}`"
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            places = [_kind(one) for one in schema["prefixItems"]]
            return f"{len(places)} × {places[0]}" if len(set(places)) == 1 else f"[{', '.join(places)}]"
        each = _kind(schema.get("items", {}))
        return f"list of ({each})" if " or null" in each else f"list of {each}"
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties")
        return f"mapping to {_kind(inside)}" if isinstance(inside, Mapping) else "mapping"
    limits = " and ".join(f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema)
    return f"{TYPES.get(schema.get('type', ''), otherwise)} {limits}".strip()


def _choices(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """All values that a JSON schema allows, as in YAML; empty where there are too many to list."""
    if "anyOf" in schema:
        arms = [_choices(one) for one in schema["anyOf"]]
        return tuple(word for arm in arms for word in arm) if all(arms) else ()
    if "const" in schema or "enum" in schema:
        return tuple(_yaml(value) for value in schema.get("enum", [schema.get("const")]))
    return {"boolean": ("true", "false"), "null": ("null",)}.get(str(schema.get("type")), ())


def _default(field: dataclasses.Field[Any]) -> str | None:
    value = field.default
    if isinstance(value, FieldInfo):
        value = value.default_factory() if value.default_factory else value.default  # type: ignore[call-arg]
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING or "Undefined" in repr(value) or (value == "" and field.type == "Text"):
        return None
    return value.name if isinstance(value, Named) else _yaml(value)


def _yaml(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    return YAML[value] if isinstance(value, bool | str | None) and value in YAML else str(value)
