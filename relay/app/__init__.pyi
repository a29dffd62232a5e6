from .desk import Desk as Desk
from .roots import Roots as Roots
from .server import serve as serve
