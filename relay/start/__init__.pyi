from .dealing import deal as deal, shares_of as shares_of
from .drafting import Draft as Draft, Source as Source, draft as draft, source_of as source_of
from .finding import Found as Found, find_dicom as find_dicom, find_images as find_images
from .fitting import fit as fit
from .writing import columns_of as columns_of, write_sheet as write_sheet
