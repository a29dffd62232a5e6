from .explaining import Asked as Asked, Explained as Explained, Heat as Heat, explain as explain
from .methods import METHODS as METHODS, methods_of as methods_of
from .page import doubts as doubts, write_page as write_page
