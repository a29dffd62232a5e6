"""Signed documents: DSSE envelopes with one Ed25519 signature, made with securesystemslib.

A key's id is its raw public key in hex, so there is no lookup table to get wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay.trust.document import canonical, read
from relay.trust.refusals import BadDocument, BadSignature, UnknownFormat

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KEYID = re.compile("[0-9a-f]{64}")


def sign(payload: bytes, kind: str, private: Ed25519PrivateKey) -> bytes:
    """A payload in its envelope, as canonical JSON.

    Args:
        kind: the DSSE payload type.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    keyid = private.public_key().public_bytes_raw().hex()
    envelope = Envelope(payload, kind, {})
    envelope.sign(CryptoSigner(private, SSlibKey.from_crypto(private.public_key(), keyid=keyid)))
    return canonical(envelope.to_dict())


class Signed:
    """A parsed envelope; trust nothing in it before :meth:`verify`.

    Attributes:
        data: the envelope's bytes.
        keyid: who claims to have signed (public key, hex).

    Raises:
        BadDocument: it is not an envelope with exactly one signature.
        UnknownFormat: its payload has another type.
    """

    def __init__(self, data: bytes, kind: str, what: str) -> None:
        from securesystemslib.dsse import Envelope

        self.data, self.what = data, what
        content = read(data, what)
        try:
            self._envelope = Envelope.from_dict(content)
            whole = canonical(self._envelope.to_dict()) == data
        except Exception as error:  # malformed content can make the library raise anything
            raise BadDocument(f"{what} is not a DSSE envelope: {error!r}") from error
        if not whole or len(self._envelope.signatures) != 1:
            raise BadDocument(f"{what} is not a DSSE envelope with one signature, in canonical form")
        ((self.keyid, signature),) = self._envelope.signatures.items()
        if not (isinstance(self.keyid, str) and _KEYID.fullmatch(self.keyid)) or signature.unrecognized_fields:
            raise BadDocument(f"{what} has a signature that is not a key id (64 hex digits) and a sig")
        if self._envelope.payload_type != kind:
            raise UnknownFormat(f"{what} is signed as {self._envelope.payload_type!r}; this program reads {kind!r}")

    @property
    def unverified(self) -> bytes:
        """The payload, no matter who wrote it: use it only to find out whose key to ask for."""
        return bytes(self._envelope.payload)

    def verify(self, keyid: str) -> bytes:
        """The payload, after checking that the holder of this key signed it.

        Raises:
            BadSignature: someone else signed it, or it has changed since.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from securesystemslib.exceptions import VerificationError
        from securesystemslib.signer import SSlibKey

        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(keyid))
            self._envelope.verify([SSlibKey.from_crypto(public, keyid=keyid)], 1)
        except (VerificationError, ValueError) as error:
            raise BadSignature(f"the signature of {self.what} was not made with the key {keyid[:16]}…") from error
        return bytes(self._envelope.payload)
