"""Fixtures every theme shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("relay", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("relay")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two busy threads on a shared machine wait for each other more than they work

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real images are not here: {SHARED_DATA}")
    return SHARED_DATA
