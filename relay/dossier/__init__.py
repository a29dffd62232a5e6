"""Papers about a study for regulators and ethics boards, written from its signed record: drafts that cite every
statement, and leave open what the record does not know.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
