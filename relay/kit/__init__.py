"""A kit: one folder on a stick from which relay is installed on a machine without a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
