from .about import About as About
from .combining import make_difference as make_difference, make_model as make_model
from .comparing import Comparison as Comparison, compared as compared
from .entry import Entry as Entry, Trust as Trust
from .library import Library as Library, entries_of as entries_of, library as library
from .lineage import Link as Link
from .made import handover as handover, read_made as read_made
from .place import Place as Place
from .recovering import recovered as recovered
