from .averaged_leg import averaged_leg as averaged_leg
from .sealed_leg import deliver as deliver, sealed_leg as sealed_leg
