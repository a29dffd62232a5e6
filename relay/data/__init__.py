"""A site's images: data-set plug-ins, splits, the decode-once store.

The loaders are separate, in :mod:`relay.data.loader`: they need torch, and checking a config must not.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
