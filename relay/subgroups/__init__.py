"""Does the model serve all patients alike? Scores by sex, age, scanner or any other column."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
