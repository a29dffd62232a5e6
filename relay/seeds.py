"""Seeds that depend only on their purpose.

Every random choice takes its seed from the study's seed, the site, the purpose and any counters. So a
leg that is resumed at epoch 7, or run separately in another building, makes the same random choices.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose: ``derive(1314, "Domain1", "shuffle", epoch)``.

    It is the first 63 bits of the SHA-256 of the parts as text, so it is the same on every machine and version.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """A NumPy generator seeded with :func:`derive`."""
    return np.random.default_rng(derive(seed, *purpose))
