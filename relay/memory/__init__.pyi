from .appearance import Form as Form, describe as describe, repaint as repaint
from .base import Memory as Memory
from .choice import Choice as Choice, build as build
from .exposure import distances as distances
from .fisher_information import fisher as fisher
from .flow import FlowOptions as FlowOptions
from .flow_net import VelocityNet as VelocityNet, sample as sample, velocity_loss as velocity_loss
from .flow_pool import join as join
from .image_views import views as views
from .inversion import by_class as by_class
from .path_integral import IntegrateAlongPath as IntegrateAlongPath, PathIntegral as PathIntegral
from .patient_influence import Influence as Influence, influence as influence
from .projection import (
    Projected as Projected,
    Projectors as Projectors,
    nothing as nothing,
    received as received,
    seen as seen,
    update as update,
    weaker as weaker,
)
from .repeated_samples import Duplicates as Duplicates, duplicates as duplicates
from .router import LEVEL as LEVEL, Router as Router
from .weights import (
    Anchor as Anchor,
    as_vector as as_vector,
    beside as beside,
    named as named,
    state as state,
    trained as trained,
)
