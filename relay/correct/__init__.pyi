from .adding import add as add, mask_from as mask_from, start_of as start_of
from .learning import LearnPaths as LearnPaths, learn as learn, site_of as site_of
from .ranking import Ranked as Ranked, predicted as predicted, rank as rank, ranking_in as ranking_in
from .target import Target as Target
