from .base import Augmentation as Augmentation, Images as Images, Pixels as Pixels
from .chosen import Choice as Choice, augment as augment, check as check, made as made
