"""An age file under a passphrase that opens at once: of its making only the derivation of its key is cheaper.

age makes each guess at a passphrase take a second, and so each command of a test that uses keys. What opens such a
file is age itself: the number of rounds is written in the file's head (https://age-encryption.org/v1).
"""

from __future__ import annotations

import os
from base64 import b64encode

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

ROUNDS = 1
"""As a power of two; age itself takes about 18."""
CHUNK = 64 << 10


def encrypt(plain: bytes, passphrase: str) -> bytes:
    """``pyrage.passphrase.encrypt``, of less than 64 KiB."""
    assert len(plain) < CHUNK
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrapping = Scrypt(b"age-encryption.org/v1/scrypt" + salt, 32, 2**ROUNDS, 8, 1).derive(passphrase.encode())
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    head = b"age-encryption.org/v1\n-> scrypt %s %d\n%s\n---" % (_base64(salt), ROUNDS, _base64(wrapped))
    mac = HMAC(_key(file_key, None, b"header"), SHA256())
    mac.update(head)
    last = bytes(11) + b"\1"
    sealed = ChaCha20Poly1305(_key(file_key, nonce, b"payload")).encrypt(last, plain, None)
    return head + b" " + _base64(mac.finalize()) + b"\n" + nonce + sealed


def _key(secret: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _base64(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")
