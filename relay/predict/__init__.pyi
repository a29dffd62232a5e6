from . import models as models
from .choice import SINGLE as SINGLE, Given as Given, OwnRun as OwnRun, Which as Which
from .ensemble import Ensemble as Ensemble
from .image import (
    Takes as Takes,
    axes_of as axes_of,
    cases_of as cases_of,
    images_in as images_in,
    images_of as images_of,
    logits as logits,
    predict_images as predict_images,
    prepare as prepare,
    probabilities as probabilities,
)
from .masks import save_map as save_map, save_mask as save_mask, save_volume as save_volume
from .models import Model as Model
from .study import (
    Testing as Testing,
    predict_study as predict_study,
    results_at as results_at,
    results_of as results_of,
)
from .table import show as show
