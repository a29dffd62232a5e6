from .fact import BLANK as BLANK, Fact as Fact, Source as Source, cited as cited, shown as shown
from .page import Page as Page, Section as Section, write_pages as write_pages
from .rules import NO_LIMIT as NO_LIMIT, RULES as RULES, in_words as in_words, of_policy as of_policy
