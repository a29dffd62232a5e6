from .distilling import distillation as distillation
from .segmentation import Loss as Loss
