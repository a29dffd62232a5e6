"""Predicting many images that nobody has looked at, with any model: masks, a table, doubts, DICOM objects."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
