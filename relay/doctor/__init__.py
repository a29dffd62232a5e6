"""Checks of a computer before it is trusted with a leg; each module checks one subject and returns findings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
