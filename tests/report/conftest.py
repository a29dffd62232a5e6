"""Fixtures of the report's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def page_alone() -> Iterator[None]:
    """Draw for the page alone: PNG and PDF take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.report.plot_style.Picture.png", lambda _: b"")
        patch.setattr("relay.report.page.pdf", lambda _: b"")
        yield
