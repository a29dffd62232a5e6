from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from hypothesis import given, strategies as st

from relay.config.decorator import options
from relay.errors import RelayError
from relay.trust.document import MAX_BYTES, Name, Slug, Time, canonical, digest, moment, parse, read, shaped, stamp
from relay.trust.refusals import BadDocument

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text()
)
json_values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4))


@options
class Thing:
    format: Literal[1] = 1
    name: Name
    study: Slug = "s"
    time: Time = "2026-01-01T00:00:00Z"
    parts: tuple[int, ...] = ()
    ratio: float | None = None


@given(json_values)
def test_what_canonical_writes_is_read_back(content: Any) -> None:
    data = canonical(content)
    assert read(data, "it") == content
    assert canonical(read(data, "it")) == data


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        content = read(data, "it")
    except BadDocument:
        return
    assert canonical(content) == data


@given(json_values)
def test_any_json_is_of_the_form_or_refused(content: Any) -> None:
    with pytest.raises(BadDocument):
        parse(Thing, canonical(content), "it")


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"b":1,"a":1}',
        '{"a": 1}',
        '{"a":1}\n',
        '\ufeff{"a":1}',
        "1.0",
        "1e1",
        "-0",
        "NaN",
        "Infinity",
        "1e999",
        "9007199254740993",
        "1" * 5000,
        '"\\u0041"',
        '"\\ud800"',
        "[" * 100_000,
        "",
        "\0",
        "'a'",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(BadDocument, match=r"^it "):
        read(text.encode(), "it")


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(BadDocument):
        read(b'"\xff"', "it")


def test_a_huge_document_is_refused_before_it_is_parsed() -> None:
    assert read(canonical("x" * (MAX_BYTES - 2)), "it")
    with pytest.raises(BadDocument, match=f"{MAX_BYTES + 1} bytes"):
        read(b"[" + b" " * (MAX_BYTES - 1) + b"]", "it")


@pytest.mark.parametrize("depth", [50, 100, 200, 300, 500, 700, 900])
def test_deep_nesting_ends_in_a_refusal(depth: int) -> None:
    with pytest.raises(BadDocument):
        parse(Thing, b'{"more":' + b"[" * depth + b"]" * depth + b',"name":"A"}', "it")


def test_schema_round_trip() -> None:
    thing = Thing(name="A", parts=(1, 2), ratio=10.0)
    assert parse(Thing, canonical(thing), "it") == thing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2; this program reads 1"),
        ({"format": "1"}, "format '1'"),
        ({"format": True}, "format True"),
        ({"more": 1}, "at more"),
        ({"name": None}, "at name"),
        ({"name": "a/b"}, "at name"),
        ({"name": "a\n"}, "at name"),
        ({"name": ".."}, "at name"),
        ({"name": "-a"}, "at name"),
        ({"name": "a."}, "at name"),
        ({"name": "a" * 41}, "at name"),
        ({"study": "S"}, "at study"),
        ({"study": "s-"}, "at study"),
        ({"study": ""}, "at study"),
        ({"parts": ["1"]}, "at parts.0"),
        ({"parts": [True]}, "at parts.0"),
        ({"ratio": "1"}, "at ratio"),
        ({"time": "2026-02-30T00:00:00Z"}, "at time"),
        ({"time": "2026-01-01T24:00:00Z"}, "at time"),
        ({"time": "2026-01-01T00:00:60Z"}, "at time"),
        ({"time": "2026-01-01T00:00:00+00:00"}, "at time"),
        ({"time": "٢٠٢٦-01-01T00:00:00Z"}, "at time"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDocument, match=r"^it ") as caught:
        shaped(Thing, {"format": 1, "name": "A", **change}, "it")
    assert message in str(caught.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadDocument, match="at name"):
        shaped(Thing, {}, "it")


@pytest.mark.parametrize("content", [None, [], "x", 1])
def test_what_is_no_mapping_is_refused(content: Any) -> None:
    with pytest.raises(RelayError):
        shaped(Thing, content, "it")


def test_digest_is_sha256() -> None:
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)))
def test_stamp_is_utc_to_the_second(when: datetime) -> None:
    east = when.replace(microsecond=0, tzinfo=timezone(timedelta(hours=5)))
    assert moment(stamp(east)) == east
    assert Thing(name="A", time=stamp(east)).time == json.loads(canonical(stamp(east)))


def test_text_order_is_time_order() -> None:
    assert stamp(datetime(2026, 9, 9, tzinfo=timezone.utc)) < stamp(datetime(2026, 10, 1, tzinfo=timezone.utc))
