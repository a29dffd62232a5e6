from . import (
    audits as audits,
    cards as cards,
    container as container,
    documents as documents,
    experts as experts,
    handover_files as handover_files,
    manifest as manifest,
    meanings as meanings,
    memory_card as memory_card,
    schemas as schemas,
    seal as seal,
    stick as stick,
)
from .audits import Attack as Attack, AuditRecord as AuditRecord, Copy as Copy, PrivacyAudit as PrivacyAudit
from .cards import test_sets as test_sets
from .container import Measured as Measured, measure as measure
from .documents import check as check, disclosed as disclosed
from .handover_files import (
    FACTS as FACTS,
    TRAVELLING as TRAVELLING,
    WEIGHTS as WEIGHTS,
    Facts as Facts,
    check_there as check_there,
    check_whole as check_whole,
    digest_of as digest_of,
    link as link,
    read_facts as read_facts,
    weights_digest as weights_digest,
)
from .manifest import STATEMENT as STATEMENT
from .meanings import meaning as meaning
from .memory_card import MemoryCard as MemoryCard, breaches as breaches
from .opening import Opened as Opened, cards_in as cards_in, clear as clear, layout_of as layout_of, opened as opened
from .seal import HEADER as HEADER, MAGIC as MAGIC, Seal as Seal, is_sealed as is_sealed, seal_of as seal_of
from .stick import (
    FAT as FAT,
    Found as Found,
    file_system as file_system,
    find as find,
    open_volumes as open_volumes,
    writing_to as writing_to,
)
