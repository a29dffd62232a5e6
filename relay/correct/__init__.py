"""Masks corrected by hand: which images to correct first, keeping what was corrected, and learning from it.

Corrected masks are versions beside the stored ones, in a folder that stays at the site
(:class:`relay.data.Corrections`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
