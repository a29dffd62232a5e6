"""The operator's page: a site's study in the browser of this computer, without a network.

Everything that the page does is a ``relay`` command, which it shows; it runs in a process of its own (:mod:`.jobs`).
What is true is on disk, as the commands leave it, so the page and a terminal can be used side by side.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
