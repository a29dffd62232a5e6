from .base import Augmentation as Augmentation, Images as Images, Pixels as Pixels
from .chosen import FOR_FLOATS as FOR_FLOATS, Choice as Choice, augment as augment, check as check, made as made
