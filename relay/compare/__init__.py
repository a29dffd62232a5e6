"""One study under several strategies, site orders and seeds: which runs there are, running them, what they say."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
