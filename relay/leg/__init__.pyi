from . import (
    checkpoint as checkpoint,
    digests as digests,
    doubts as doubts,
    guarantee as guarantee,
    handover_writer as handover_writer,
)
from .acceptance import check_net as check_net, full_check as full_check, quick_check as quick_check
from .callbacks import KeepState as KeepState, ShowProgress as ShowProgress, StopOnNonFinite as StopOnNonFinite
from .candidates import candidates_in as candidates_in, preferred as preferred, scores as scores, zero_shot as zero_shot
from .device import device_of as device_of, memory_format as memory_format
from .digests import digest as digest
from .evaluate import (
    Predicted as Predicted,
    predictions as predictions,
    regridded as regridded,
    regridded_slabs as regridded_slabs,
    resized as resized,
    rows as rows,
    slabs as slabs,
)
from .fitting import fit as fit
from .heap import kept_memory as kept_memory
from .inference import (
    OVERLAP as OVERLAP,
    Mirrored as Mirrored,
    applied as applied,
    predict as predict,
    reflected as reflected,
)
from .learner import Learner as Learner
from .own_training import Trained as Trained, check_own_code as check_own_code, start_of as start_of
from .paths import LegPaths as LegPaths, RunPaths as RunPaths, watched_in as watched_in
from .precision import has_bf16 as has_bf16, pays as pays
from .processes import is_first as is_first, wait_for_all as wait_for_all
from .progress import Progress as Progress, progress_of as progress_of
from .run import (
    check_input_spec as check_input_spec,
    model_of as model_of,
    planned_steps as planned_steps,
    run_leg as run_leg,
)
from .simulated_transport import SimulatedStudy as SimulatedStudy, transport_of as transport_of
from .sites import Known as Known, Needs as Needs, Sites as Sites, needs as needs
from .spent import told as told
from .tensorboard import show_results as show_results
from .training import task_of as task_of, training_of as training_of
from .transport import Incoming as Incoming, Transport as Transport, expected_config as expected_config
from .tuning import tune as tune, tuning_steps as tuning_steps
from .vote import Vote as Vote
