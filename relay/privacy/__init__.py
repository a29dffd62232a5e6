"""What a handover tells about the patients it was trained on: attacks on it, before it leaves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
