"""Sending and receiving: the rules for trusting a bundle, and the store of what a site knows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
