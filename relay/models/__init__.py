"""Models as a library: what lies in a folder, where each model comes from, and arithmetic on models of one lineage."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
