"""Metrics. What needs torch is imported when it is asked for, so that worker processes can do without."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
