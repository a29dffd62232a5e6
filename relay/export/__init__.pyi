from . import standalone as standalone
from .attest import verify as verify
from .comparing import Compared as Compared
from .exporting import (
    Wanted as Wanted,
    check_kind as check_kind,
    check_ready as check_ready,
    export_model as export_model,
)
from .formats import Form as Form
from .recipe import lineage_of as lineage_of
