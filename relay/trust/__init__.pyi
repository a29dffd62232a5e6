from . import keys as keys, request as request, roster_builder as roster_builder, statement as statement
from .document import (
    MAX_BYTES as MAX_BYTES,
    Name as Name,
    Sha256 as Sha256,
    Slug as Slug,
    Time as Time,
    canonical as canonical,
    digest as digest,
    moment as moment,
    parse as parse,
    read as read,
    shaped as shaped,
    stamp as stamp,
    travels as travels,
    written as written,
)
from .envelope import Signed as Signed
from .fingerprints import from_words as from_words, same as same, words as words
from .keys import Identity as Identity, Keys as Keys, unlock as unlock
from .ledger import Cost as Cost, Event as Event, Known as Known, Ledger as Ledger, Line as Line, Record as Record
from .passphrases import long_enough as long_enough, passphrase as passphrase
from .policy import USUAL as USUAL, Gate as Gate, Kind as Kind, Policy as Policy, read_policy as read_policy
from .refusals import (
    MAX_MESSAGE as MAX_MESSAGE,
    BadContainer as BadContainer,
    BadDocument as BadDocument,
    BadRoster as BadRoster,
    BadSignature as BadSignature,
    BrokenChain as BrokenChain,
    CannotOpen as CannotOpen,
    ClockSetBack as ClockSetBack,
    ConfigMismatch as ConfigMismatch,
    DamagedLedger as DamagedLedger,
    DigestMismatch as DigestMismatch,
    Expired as Expired,
    ExpiredKey as ExpiredKey,
    Fork as Fork,
    GateFailed as GateFailed,
    Incomplete as Incomplete,
    NotApproved as NotApproved,
    NotAudited as NotAudited,
    OldRoster as OldRoster,
    PolicyBreach as PolicyBreach,
    PredecessorMismatch as PredecessorMismatch,
    Refused as Refused,
    Replay as Replay,
    RevokedKey as RevokedKey,
    Rollback as Rollback,
    RosterPeriod as RosterPeriod,
    UnknownKey as UnknownKey,
    UnknownOwnLeg as UnknownOwnLeg,
    WrongLeg as WrongLeg,
    WrongOrder as WrongOrder,
    WrongRecipient as WrongRecipient,
    WrongStudy as WrongStudy,
)
from .request import invitation_name as invitation_name, request_name as request_name
from .roster import (
    KIND as KIND,
    Roster as Roster,
    TrustedRoster as TrustedRoster,
    ending as ending,
    newer as newer,
    open_roster as open_roster,
    roster_name as roster_name,
    sign_roster as sign_roster,
)
from .roster_builder import describe as describe
from .statement import (
    SUBJECT as SUBJECT,
    Claim as Claim,
    Count as Count,
    Recipient as Recipient,
    RosterRef as RosterRef,
    Share as Share,
    Statement as Statement,
    Tensors as Tensors,
    Text as Text,
)
