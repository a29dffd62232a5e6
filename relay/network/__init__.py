"""One site's turn: receive, train, test, and write what is handed over."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
