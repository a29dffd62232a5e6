from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st

from relay.trust.document import canonical
from relay.trust.envelope import Signed, sign
from relay.trust.refusals import BadDocument, BadSignature, Refused, UnknownFormat

KIND = "application/x-test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def keyid(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    envelope = json.loads(sign(b"hello", KIND, KEY))
    change(envelope)
    return canonical(envelope)


@given(st.binary(max_size=200), st.text(min_size=1, max_size=20))
def test_round_trip(payload: bytes, kind: str) -> None:
    signed = Signed(sign(payload, kind, KEY), kind, "it")
    assert signed.keyid == keyid(KEY)
    assert signed.unverified == signed.verify(keyid(KEY)) == payload


def test_the_signature_is_plain_dsse() -> None:
    envelope = json.loads(sign(b"hello", KIND, KEY))
    assert envelope["payloadType"] == KIND
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    KEY.public_key().verify(signature, b"DSSEv1 %d %s 5 hello" % (len(KIND), KIND.encode()))


def test_another_key_is_refused() -> None:
    with pytest.raises(BadSignature, match="signature of it"):
        Signed(sign(b"hello", KIND, KEY), KIND, "it").verify(keyid(OTHER))


def test_a_borrowed_key_id_is_refused() -> None:
    data = sign(b"hello", KIND, KEY).replace(keyid(KEY).encode(), keyid(OTHER).encode())
    signed = Signed(data, KIND, "it")
    assert signed.keyid == keyid(OTHER)
    for key in (KEY, OTHER):
        with pytest.raises(BadSignature):
            signed.verify(keyid(key))


@pytest.mark.parametrize("key", ["", "00", "zz" * 32])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadSignature):
        Signed(sign(b"hello", KIND, KEY), KIND, "it").verify(key)


def test_another_kind_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="application/x-test"):
        Signed(sign(b"hello", KIND, KEY), "application/x-other", "it")


@pytest.mark.parametrize("kind", [1, None, [], ""])
def test_a_kind_that_is_none_is_refused(kind: Any) -> None:
    with pytest.raises(Refused, match=r"^it is"):
        Signed(changed(lambda e: e.update(payloadType=kind)), KIND, "it")


def test_a_changed_kind_breaks_the_signature() -> None:
    data = sign(b"hello", KIND, KEY).replace(b"x-test", b"x-tesu")
    with pytest.raises(BadSignature):
        Signed(data, "application/x-tesu", "it").verify(keyid(KEY))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        changed(lambda e: e.pop("payload")),
        changed(lambda e: e.update(payload="aGVsbG8")),  # padding left out
        changed(lambda e: e.update(payload="aGVsbG9=")),  # other bits under the padding
        changed(lambda e: e.update(payload=" aGVsbG8=")),
        changed(lambda e: e.update(payload=None)),
        changed(lambda e: e.update(more=1)),
        changed(lambda e: e.update(signatures=[])),
        changed(lambda e: e.update(signatures={})),
        changed(lambda e: e["signatures"].append(e["signatures"][0])),
        changed(lambda e: e["signatures"].append({"keyid": keyid(OTHER), "sig": ""})),
        changed(lambda e: e["signatures"][0].pop("keyid")),
        changed(lambda e: e["signatures"][0].pop("sig")),
        changed(lambda e: e["signatures"][0].update(sig=1)),
        changed(lambda e: e["signatures"][0].update(keyid=1)),
        changed(lambda e: e["signatures"][0].update(keyid="\x1b[2J")),
        changed(lambda e: e["signatures"][0].update(keyid=keyid(KEY).upper())),
        changed(lambda e: e["signatures"][0].update(more=1)),
        sign(b"hello", KIND, KEY) + b"\n",
        sign(b"hello", KIND, KEY).replace(b",", b", "),
    ],
)
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(BadDocument, match=r"^it "):
        Signed(data, KIND, "it")


@given(st.data())
def test_no_changed_byte_is_believed(data: st.DataObject) -> None:
    good = sign(b'{"a":1}', KIND, KEY)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    with pytest.raises(Refused):
        Signed(bad, KIND, "it").verify(keyid(KEY))
