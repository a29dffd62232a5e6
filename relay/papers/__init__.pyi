from .fact import Fact as Fact, Source as Source, asked as asked, cited as cited
from .page import Page as Page, Part as Part, write_pages as write_pages
