"""One study with several strategies, site orders and seeds: plan the runs, run them, and compare the results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
