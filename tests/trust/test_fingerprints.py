from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, strategies as st

from relay.errors import UserError
from relay.trust.fingerprints import from_words, same, words

ZERO = "abandon " * 11 + "about"


@pytest.mark.parametrize(
    ("entropy", "expected"),
    [  # from the test vectors of BIP39
        ("00" * 16, ZERO),
        ("7f" * 16, "legal winner thank year wave sausage worth useful legal winner thank yellow"),
        ("ff" * 16, "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"),
    ],
)
def test_known_vectors(entropy: str, expected: str) -> None:
    assert words(bytes.fromhex(entropy)) == expected
    assert from_words(expected) == bytes.fromhex(entropy)


@given(st.binary(min_size=16, max_size=64))
def test_round_trip_keeps_the_first_16_bytes(digest: bytes) -> None:
    text = words(digest)
    assert len(text.split()) == 12
    assert from_words(text) == digest[:16]
    assert same(text, digest)


def test_forgives_case_commas_and_spacing() -> None:
    assert from_words("  " + ZERO.upper().replace(" ", ",\n ") + " ") == bytes(16)


def test_other_digest_is_not_the_same() -> None:
    assert not same(ZERO, hashlib.sha256(b"x").digest())


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        words(bytes(15))


def test_names_the_wrong_word_and_the_nearest() -> None:
    with pytest.raises(UserError, match=r"word 12, 'abouut'.*did you mean 'about'"):
        from_words(ZERO.replace("about", "abouut"))


def test_names_a_word_that_is_like_no_other() -> None:
    with pytest.raises(UserError, match=r"word 1, '1234', is not in the word list$"):
        from_words(ZERO.replace("abandon", "1234", 1))


@pytest.mark.parametrize("text", ["", "abandon", ZERO + " about"])
def test_counts_the_words(text: str) -> None:
    with pytest.raises(UserError, match=rf"you gave {len(text.split())} words; a fingerprint has 12"):
        from_words(text)


def test_two_exchanged_words_break_the_checksum() -> None:
    exchanged = "winner legal thank year wave sausage worth useful legal winner thank yellow"
    with pytest.raises(UserError, match="checksum") as caught:
        from_words(exchanged)
    assert "read out again" in caught.value.advice()
