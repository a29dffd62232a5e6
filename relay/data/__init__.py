"""A site's images: data-set plug-ins, splits, the decode-once store.

The loaders are in :mod:`relay.data.loader`, apart, for they need torch and a config is checked without it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
