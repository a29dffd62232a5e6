from .distilling import distillation as distillation
from .segmentation import LOSSES as LOSSES, Loss as Loss
