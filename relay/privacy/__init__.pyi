from .auditing import (
    Audit as Audit,
    run_audit as run_audit,
    write_record as write_record,
    write_scores as write_scores,
)
from .carding import card_of as card_of
from .controls import Control as Control, selftest as selftest
from .leaving import Leaving as Leaving, arrived_at as arrived_at, leaving_of as leaving_of
from .page import write_page as write_page
from .subjects import Subjects as Subjects, subjects_of as subjects_of
from .training_shadows import Effort as Effort
