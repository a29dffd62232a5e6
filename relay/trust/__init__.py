"""Who signed what: keys, signed documents, rosters, statements, and each site's record of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
