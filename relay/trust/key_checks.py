"""The public keys themselves: which of them are sound, and the X25519 secret that two of them share.

A key may be of the right length and still be worthless: for a few of them anybody can make signatures or knows
the shared secret (points of small order), and some can be spelt in two ways. None of these is let in.
"""

from __future__ import annotations

from relay.trust.refusals import BadDocument

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P)
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def check_signing(key: str, what: str) -> None:
    """Refuse (:class:`BadDocument`) an Ed25519 public key, in hex, that is not sound. ``what`` names it."""
    y = int.from_bytes(bytes.fromhex(key), "little") & (2**255 - 1)  # the top bit is the sign of x
    try:
        _exchange(bytes(32), ((1 + y) * pow(1 - y, -1, _P)) % _P)  # the same point on Curve25519
    except ValueError as error:
        raise BadDocument(f"{what} is one that anybody could sign with") from error
    x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P)
    if y >= _P or pow(x2, (_P - 1) // 2, _P) != 1:
        raise BadDocument(f"{what} is no Ed25519 public key")


def check_sealing(key: str, what: str) -> None:
    """Refuse (:class:`BadDocument`) an age recipient, ``age1...``, that is not sound. ``what`` names it."""
    import pyrage

    try:
        same = str(pyrage.x25519.Recipient.from_str(key)) == key
    except pyrage.RecipientError as error:
        raise BadDocument(f"{what} is no age key: {error}") from error
    u = int.from_bytes(_raw(key), "little")
    if not same or u >= _P:
        raise BadDocument(f"{what} is an age key in an odd spelling")
    try:
        _exchange(bytes(32), u)
    except ValueError as error:
        raise BadDocument(f"{what} is one that anybody could open") from error


def recipient(secret: str) -> str:
    """The age recipient of an age secret key.

    Raises:
        ValueError: it is not one.
    """
    import pyrage

    try:
        return str(pyrage.x25519.Identity.from_str(secret).to_public())
    except pyrage.IdentityError:
        raise ValueError("not an age secret key") from None


def agree(secret: str, key: str) -> bytes:
    """The 32 bytes that X25519 makes of one's own age secret key and another's sound recipient."""
    return _exchange(_raw(secret), int.from_bytes(_raw(key), "little"))


def _exchange(secret: bytes, u: int) -> bytes:
    """X25519; ValueError where the result is zero, which is so for points of small order and no others."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    public = X25519PublicKey.from_public_bytes(u.to_bytes(32, "little"))
    return X25519PrivateKey.from_private_bytes(secret).exchange(public)


def _raw(text: str) -> bytes:
    """The 32 bytes of an age key that pyrage has accepted: 52 characters of 5 bits, the last 4 bits padding."""
    data = text.lower().rpartition("1")[2][:52]
    bits = sum(_BECH32.index(c) << 5 * i for i, c in enumerate(reversed(data)))
    return (bits >> 4).to_bytes(32, "big")
