"""A handover as one file: its content, and how it is packed, sealed and put on a stick."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
