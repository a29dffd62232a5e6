from .dealing import deal as deal, shares_of as shares_of
from .finding import Found as Found, find_images as find_images
from .writing import columns_of as columns_of, write_sheet as write_sheet
