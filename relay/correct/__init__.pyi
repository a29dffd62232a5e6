from .adding import add as add, mask_from as mask_from, start_of as start_of
from .learning import LearnPaths as LearnPaths, learn as learn, site_of as site_of
from .ranked import Ranked as Ranked, predicted as predicted, ranking_in as ranking_in
from .ranking import rank as rank
from .target import Target as Target
