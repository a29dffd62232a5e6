from .masks import score_masks as score_masks
from .pairs import Asked as Asked
from .result import Score as Score, show as show
from .tables import score_classes as score_classes, score_numbers as score_numbers
