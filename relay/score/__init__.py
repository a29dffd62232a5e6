"""Metrics for predictions from any tool: ``relay score``. Measuring masks does not need torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
