from . import (
    approving as approving,
    drafting as drafting,
    gate as gate,
    measures as measures,
    receipt as receipt,
    receiving as receiving,
    select_bundle as select_bundle,
    sending as sending,
    sharing as sharing,
)
from .drafting import Draft as Draft, check_there as check_there
from .expected_config import ExpectedConfig as ExpectedConfig, check_fit as check_fit
from .proving import check_record as check_record
from .rebuilding import rebuild as rebuild
from .receiving import (
    AcceptanceCheck as AcceptanceCheck,
    Kept as Kept,
    Verified as Verified,
    chain_in as chain_in,
    check_kept as check_kept,
    judge as judge,
    look_into as look_into,
    newest as newest,
    receive as receive,
    reopen as reopen,
    verify as verify,
)
from .rules import SKEW as SKEW
from .store import StudyStore as StudyStore, utc_now as utc_now
