"""Digests as words that two people can compare over the telephone: BIP39, English, through mnemonic.

Twelve words hold 128 bits and a 4-bit checksum, which catches most misspoken words.
"""

from __future__ import annotations

import hmac

from relay.errors import UserError, nearest, plain

BYTES = 16
"""How many bytes of a digest become words."""
_COUNT = 12


def words(digest: bytes) -> str:
    """The first 16 bytes of a digest as 12 words.

    Raises:
        ValueError: there are fewer bytes.
    """
    from mnemonic import Mnemonic

    return Mnemonic("english").to_mnemonic(digest[:BYTES])


def from_words(text: str) -> bytes:
    """The 16 bytes that 12 words stand for; case, commas and spacing don't matter.

    Raises:
        UserError: not 12 words, a word that is not in the list, or a wrong checksum.
    """
    from mnemonic import Mnemonic

    book = Mnemonic("english")
    given = text.replace(",", " ").lower().split()
    for number, word in enumerate(given, 1):
        if word not in book.wordlist:
            said = plain(word[:40])
            near = nearest(said, book.wordlist)
            hint = f"; did you mean '{near}'?" if near else ""
            raise UserError(f"word {number}, '{said}', is not in the word list{hint}", "Type the words again.")
    if len(given) != _COUNT:
        raise UserError(f"you gave {len(given)} words; a fingerprint has {_COUNT}", "Type all of them.")
    if not book.check(" ".join(given)):
        raise UserError(
            "these words don't form a valid fingerprint: their checksum is wrong",
            "One of them is wrong, or two are swapped. Have them read out again.",
        )
    return bytes(book.to_entropy(given))


def same(text: str, digest: bytes) -> bool:
    """Whether the words match the digest.

    Raises:
        UserError: as :func:`from_words`.
    """
    return hmac.compare_digest(from_words(text), digest[:BYTES])
