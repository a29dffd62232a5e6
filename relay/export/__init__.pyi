from .attest import verify as verify
from .comparing import Compared as Compared
from .exporting import Wanted as Wanted, export_model as export_model
from .formats import Form as Form
