"""What a model predicts: one object for each kind of task, in place of switches. What needs torch imports it late."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
