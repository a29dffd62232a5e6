"""Every file and every field that is written for others is on the page that says what it could disclose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.bundle import documents, manifest, meanings
from relay.exchange import receipt
from relay.trust import Claim, request

PAGE = (Path(__file__).parents[2] / "docs/explanation/what-leaves.md").read_text()
NAMED = set(re.findall(r"`([^`]+)`", PAGE))
SIGNED = (Claim, request.Request, request.Invitation, *documents.SCHEMAS.values())


def fields(schema: Any) -> Iterator[str]:
    """The names of all properties in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from fields(inner)


THERE = {name for kind in SIGNED for name in fields(TypeAdapter(kind).json_schema(mode="serialization"))}


@pytest.mark.parametrize("name", meanings.OWN)
def test_every_file_of_a_bundle_is_on_the_page(name: str) -> None:
    assert name in NAMED


def test_every_field_is_on_the_page() -> None:
    assert len(THERE) > 50
    assert not {*THERE, *receipt._FIELDS} - NAMED


def test_no_field_has_room_for_a_patient_or_an_image() -> None:
    of_one = {"patient", "sample", "image", "file", "path", "value"}
    assert not THERE & of_one


def test_the_smallest_group_is_the_one_on_the_page() -> None:
    assert f"is published as {documents.SMALLEST}" in PAGE
    assert manifest.MODEL in NAMED
