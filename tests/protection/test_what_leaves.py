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
from relay.trust import Claim, Policy, request

PAGE = (Path(__file__).parents[2] / "docs/explanation/what-leaves.md").read_text()
NAMED = set(re.findall(r"`([^`]+)`", PAGE))
SIGNED = (Claim, request.Request, request.Invitation, *documents.SCHEMAS.values())


def fields(schema: Any) -> Iterator[str]:
    """The names of all properties in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from fields(inner)


EXACT = Policy(sample_counts="exact")
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


def test_a_published_count_stands_for_what_the_page_says() -> None:
    table = re.findall(r"^\| (\d+) \| (\d+) to (\d+) \|$", PAGE, re.MULTILINE)
    assert len(table) == 4
    for published, least, most in table:
        assert documents.meant(int(published), "rounded") == (int(least), int(most))


@pytest.mark.parametrize("group", [True, False])
def test_a_count_is_always_in_the_range_that_is_told_of_it(group: bool) -> None:
    """All counts up to 3000, and which are published alike."""
    publish = documents.grouped if group else documents.disclosed
    alike: dict[int, list[int]] = {}
    for count in range(3000):
        alike.setdefault(publish(count, Policy()), []).append(count)
        assert documents.meant(publish(count, EXACT), "exact", group) == (count, count)
    for published, counts in list(alike.items())[:-1]:
        assert documents.meant(published, "rounded", group) == (counts[0], counts[-1])
    assert documents.meant(4, "rounded") == (3, 5), "as earlier versions published small groups"
    assert documents.in_brackets(8, "rounded") == " (1 to 11)"
    assert documents.in_brackets(8, "rounded", group=False) == " (6 to 11)"
    assert documents.in_brackets(0, "rounded") == documents.in_brackets(7, "exact") == ""


def test_the_smallest_group_is_the_one_on_the_page() -> None:
    assert f"is published as {documents.SMALLEST}" in PAGE
    assert manifest.MODEL in NAMED
