"""Testing finished models: on test sets, on a single image; the masks and pictures of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
