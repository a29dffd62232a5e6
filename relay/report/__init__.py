"""What people look at: tables on the screen (:mod:`relay.report.screen`), and a page (:func:`write_report`)."""

from __future__ import annotations

from relay.report.page import write_report

__all__ = ["write_report"]
