from .dealing import deal as deal, shares_of as shares_of
from .drafting import Draft as Draft, counted as counted, draft as draft
from .finding import Found as Found, find_images as find_images, layout_of as layout_of
from .fitting import fit as fit
from .sources import Source as Source, source_of as source_of
from .writing import columns_of as columns_of, write_sheet as write_sheet
