from .dicom import Codes as Codes, Writer as Writer, check_package as check_package, is_source as is_source
from .exported import Exported as Exported
from .listing import Wanted as Wanted, check_axes as check_axes, listed as listed
from .outputs import LOCK as LOCK, LOG as LOG, Outputs as Outputs
from .own import Own as Own
from .predictor import Predictor as Predictor
from .review import Threshold as Threshold, chosen as chosen
from .running import Settings as Settings, Summary as Summary, run as run
from .usual import usual_spacing as usual_spacing
