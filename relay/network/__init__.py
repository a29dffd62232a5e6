"""Legs that a network carries, where one is allowed: sealed bundles, or weights that a server averages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
