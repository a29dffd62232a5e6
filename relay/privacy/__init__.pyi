from .auditing import (
    Audit as Audit,
    Leaving as Leaving,
    card_of as card_of,
    leaving as leaving,
    run_audit as run_audit,
    write_record as write_record,
    write_scores as write_scores,
)
from .controls import Control as Control, selftest as selftest
from .page import write_page as write_page
from .subjects import Subjects as Subjects, subjects_of as subjects_of
from .training_shadows import Effort as Effort
