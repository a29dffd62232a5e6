"""Checks on public keys, and the X25519 secret that two key pairs share.

A key can have the right length and still be worthless. For a few keys (points of small order), anyone can make
signatures or compute the shared secret; others have two spellings. All of these are rejected.
"""

from __future__ import annotations

from relay.trust.refusals import BadDocument

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P)
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def check_signing(key: str, what: str) -> None:
    """Reject an unsound Ed25519 public key, in hex, with :class:`BadDocument`. ``what`` names it in the message."""
    y = int.from_bytes(bytes.fromhex(key), "little") & (2**255 - 1)  # the top bit is the sign of x
    try:
        _exchange(bytes(32), ((1 + y) * pow(1 - y, -1, _P)) % _P)  # the same point on Curve25519
    except ValueError as error:
        raise BadDocument(f"{what} is one that anyone could sign with") from error
    x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P)
    if y >= _P or pow(x2, (_P - 1) // 2, _P) != 1:
        raise BadDocument(f"{what} is not an Ed25519 public key")


def check_sealing(key: str, what: str) -> None:
    """Reject an unsound age recipient, ``age1...``, with :class:`BadDocument`. ``what`` names it in the message."""
    import pyrage

    try:
        same = str(pyrage.x25519.Recipient.from_str(key)) == key
    except pyrage.RecipientError as error:
        raise BadDocument(f"{what} is not an age key: {error}") from error
    u = int.from_bytes(_raw(key), "little")
    if not same or u >= _P:
        raise BadDocument(f"{what} is an age key in a non-standard spelling")
    try:
        _exchange(bytes(32), u)
    except ValueError as error:
        raise BadDocument(f"{what} is one that anyone could open") from error


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
    """The 32 bytes that X25519 derives from your own age secret key and another site's sound recipient."""
    return _exchange(_raw(secret), int.from_bytes(_raw(key), "little"))


def _exchange(secret: bytes, u: int) -> bytes:
    """X25519; ValueError if the result is zero, which happens exactly for points of small order."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    public = X25519PublicKey.from_public_bytes(u.to_bytes(32, "little"))
    return X25519PrivateKey.from_private_bytes(secret).exchange(public)


def _raw(text: str) -> bytes:
    """The 32 bytes of an age key that pyrage accepted: 52 characters of 5 bits, the last 4 bits padding."""
    data = text.lower().rpartition("1")[2][:52]
    bits = sum(_BECH32.index(c) << 5 * i for i, c in enumerate(reversed(data)))
    return (bits >> 4).to_bytes(32, "big")
