from .averages import averaged_leg as averaged_leg
from .bundles import deliver as deliver, sealed_leg as sealed_leg
