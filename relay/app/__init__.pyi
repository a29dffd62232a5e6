from .desk import Desk as Desk
from .doorbell import ring as ring
from .roots import Roots as Roots
from .server import serve as serve
