"""What is in a site's data: every problem at once, and one page that shows it to the site."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
