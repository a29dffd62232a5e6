from . import verify_kit as verify_kit
from .building import Order as Order, build as build, own_wheel as own_wheel
from .manifest import Opened as Opened, check_empty as check_empty, opened as opened, sign as sign
from .platforms import PLATFORMS as PLATFORMS, find as find
from .pretrained import weights_of as weights_of
from .updating import update as update
