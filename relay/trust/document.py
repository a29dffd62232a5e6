"""The documents of a hand-over: JSON in one canonical form, checked against a schema.

Canonical means RFC 8785. Bytes that are not canonical are refused. This rules out duplicate keys, NaN, unusual
spellings of a number, and everything else that two readers could interpret differently.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Hashable, Mapping
from datetime import datetime, timezone
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, TypeAdapter, ValidationError

from relay.config import SITE_NAME, Field
from relay.trust.refusals import BadDocument

MAX_BYTES = 4 * 2**20
"""Largest document that is read, in bytes: far larger than any legitimate one."""


def _moment_there_is(text: str) -> str:
    if stamp(moment(text)) != text:
        raise ValueError("not a valid date and time, or not in ASCII digits")
    return text


Slug = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Name of a study: lower case, so that two can't clash on a stick that ignores case."""
Name = Annotated[str, Field(pattern=SITE_NAME)]
"""Name of a site, as ``task_name`` in a config."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), AfterValidator(_moment_there_is)]
"""UTC to the second, so that text order is time order."""

LATER = {
    "approval": "optional",
    "approved": False,
    "audit": "none",
    "audit_limit": 0.6,
    "privacy_audit": None,
    "share": "none",
    "target_scale": None,
}
"""Keys that were added to a policy, a claim, a data card and a model's input after their first documents, with their
defaults. At its default such a key is left out, so that documents from before keep their bytes, and readers from before
read all that don't use it."""

T = TypeVar("T")


def canonical(content: Any) -> bytes:
    """Plain JSON values, or a schema's dataclass, as RFC 8785 bytes."""
    import rfc8785

    is_one = dataclasses.is_dataclass(content) and not isinstance(content, type)
    return rfc8785.dumps(written(content) if is_one else content)


def written(content: Any) -> dict[str, Any]:
    """A schema's dataclass as plain values, without keys of :data:`LATER` that have their default."""
    return dataclasses.asdict(content, dict_factory=_kept)


def _kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if key not in LATER or value != LATER[key]}


def read(data: bytes, what: str) -> Any:
    """Canonical JSON as plain values.

    Args:
        what: what to call the document in errors.

    Raises:
        BadDocument: too large, not JSON, or not in canonical form.
    """
    if len(data) > MAX_BYTES:
        raise BadDocument(f"{what} has {len(data)} bytes; the limit is {MAX_BYTES}")
    try:
        content = json.loads(data.decode())
        same = canonical(content) == data
    except (ValueError, RecursionError) as error:  # also what rfc8785 and the decoder raise
        raise BadDocument(f"{what} is not valid JSON in this format: {error}") from error
    if not same:
        raise BadDocument(f"{what} is not in canonical form (RFC 8785)")
    return content


def travels(content: Mapping[str, Any]) -> list[str]:
    """The keys of a flat document whose values another site might read differently: RFC 8785 writes a float
    from 2^53 to 1e21 as an integer, and not every reader handles integers beyond 2^53 in the same way."""

    def same(value: Any) -> bool:
        try:
            return bool(read(canonical({"value": value}), "a value") == {"value": value})
        except (BadDocument, ValueError):  # also what rfc8785 raises
            return False

    return [key for key, value in content.items() if not same(value)]


def parse(schema: type[T], data: bytes, what: str) -> T:
    """Canonical JSON as a schema's dataclass.

    Raises:
        BadDocument: as :func:`read`; or a key is missing, unknown, or of the wrong type.
    """
    return shaped(schema, read(data, what), what)


def shaped(schema: type[T], content: Any, what: str) -> T:
    """Plain values as a schema's dataclass.

    Raises:
        BadDocument: a key is missing, unknown, or of the wrong type.
    """
    if isinstance(content, Mapping) and (content.get("format", 1) != 1 or content.get("format") is True):
        raise BadDocument(f"{what} has format {content['format']!r}; this program reads 1")
    adapter: TypeAdapter[T] = _adapter(cast(Hashable, schema))
    try:
        # validated from JSON text: there, strict means JSON's own types, and arrays are accepted for tuples
        made = adapter.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the top level"
        raise BadDocument(f"{what} does not match its schema: at {where}: {first['msg']}") from error
    if dataclasses.is_dataclass(made) and json.loads(json.dumps(written(made))) != content:
        raise BadDocument(
            f"{what} omits a key that has a default; every key must be present, except at their defaults "
            f"{', '.join(LATER)}, which must not"
        )
    return made


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    """pydantic's validator for a schema; building one takes longer than using it."""
    return TypeAdapter(schema)


def digest(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def stamp(moment: datetime) -> str:
    """A moment as :data:`Time`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The moment that a :data:`Time` stands for."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
