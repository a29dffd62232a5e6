"""Random numbers that only this site can derive: who takes part in a step, and the noise.

Noise from the study's public seed would be no protection: anyone could subtract it again. So a leg has a key of its
own, 32 bytes from the operating system. It never leaves, only its owner can read it, and it is removed when the leg is
finished. Until then the same step always has the same noise: a leg that is stopped and resumed releases nothing twice.

Bytes are a ChaCha20 stream (RFC 8439) under a key derived from the leg's key for each purpose. A normal number
is the sum of four, divided by two: with a single one, what floating point can and cannot represent betrays the
sum without noise (Mironov 2012; Holohan and Braghin 2021, arXiv:2107.10138, which Opacus follows, too).
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray
from scipy.special import ndtri
from typing_extensions import Self

from relay.files import damaged, read_bytes, write_bytes
from relay.seeds import derive

LENGTH = 32
AT_ONCE = 2**20
"""How many normal numbers are made at once; each needs 32 bytes."""


@dataclass(frozen=True)
class Secret:
    """A leg's key.

    Attributes:
        safe: whether nobody else can derive it; not so if it comes from a seed.
    """

    key: bytes = field(repr=False)
    safe: bool = True

    @classmethod
    def of(cls, path: Path) -> Self:
        """The key in a file; if there is none, a new one is written.

        Raises:
            UserError: the file is damaged.
        """
        if not path.is_file():
            write_bytes(path, secrets.token_bytes(LENGTH))
        key = read_bytes(path)
        if len(key) != LENGTH:
            raise damaged(path, f"it has {len(key)} bytes, not {LENGTH}", f"Remove {path.parent} to train again.")
        return cls(key)

    @classmethod
    def from_seed(cls, seed: int, *purpose: object) -> Self:
        """A key that repeats, for tests: it protects nobody."""
        return cls(sha256(str(derive(seed, "noise", *purpose)).encode()).digest(), safe=False)

    @property
    def name(self) -> str:
        """What the key is called in an account; it tells nothing about the key."""
        return sha256(b"name" + self.key).hexdigest()[:32]

    def uniform(self, many: int, *purpose: object) -> NDArray[np.float64]:
        """Numbers in (0, 1), multiples of 2^-53 and a half: ``(many,)``."""
        words = np.frombuffer(self._bytes(8 * many, *purpose), np.uint64)
        found: NDArray[np.float64] = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return found

    def normal(self, many: int, *purpose: object) -> NDArray[np.float64]:
        """Standard normal numbers ``(many,)``, each of four; none of the four is beyond 8.2."""
        made = np.empty(many)
        for start in range(0, many, AT_ONCE):
            count = min(AT_ONCE, many - start)
            four = ndtri(self.uniform(4 * count, *purpose, start)).reshape(4, count)
            made[start : start + count] = four.sum(0) / 2
        return made

    def _bytes(self, many: int, *purpose: object) -> bytes:
        text = "\x1f".join(map(str, purpose)).encode()
        own = hmac.new(self.key, text, sha256).digest()
        return Cipher(algorithms.ChaCha20(own, bytes(16)), mode=None).encryptor().update(bytes(many))
