"""What a data protection officer asks for: what still holds a patient who withdraws consent, its removal, and two pages
of facts about what leaves the site.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
