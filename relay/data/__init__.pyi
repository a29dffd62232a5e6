from .cache import Cache as Cache
from .checks import Doubt as Doubt, combined as combined, examine as examine
from .corrections import (
    Correction as Correction,
    Corrections as Corrections,
    read_corrected as read_corrected,
)
from .dataset import Dataset as Dataset
from .dicom.decoding import planes_in_order as planes_in_order
from .dicom.pseudonyms import Pseudonyms as Pseudonyms, site_pseudonyms as site_pseudonyms
from .dicom.series import (
    Series as Series,
    find_series as find_series,
    parts_of as parts_of,
    series_files as series_files,
)
from .formats.files import (
    PICTURES as PICTURES,
    VOLUME_FILES as VOLUME_FILES,
    VOLUMES as VOLUMES,
    WHOLE as WHOLE,
    is_dicom as is_dicom,
    is_series as is_series,
    is_volume as is_volume,
    listing as listing,
    pairs as pairs,
    stem as stem,
    tree as tree,
)
from .formats.labels import UnknownValues as UnknownValues, class_indices as class_indices
from .formats.pictures import EXIF_ORIENTATION as EXIF_ORIENTATION, exif_of as exif_of
from .formats.volumes import read_geometry as read_geometry
from .loader import (
    Collated as Collated,
    eval_batches as eval_batches,
    sample_ids as sample_ids,
    scaled as scaled,
    train_loader as train_loader,
)
from .options import (
    ClassWords as ClassWords,
    DatasetOptions as DatasetOptions,
    MaskValues as MaskValues,
    Regex as Regex,
    SplitName as SplitName,
    Text as Text,
    Word as Word,
)
from .patient_loader import patient_loader as patient_loader, patients_of as patients_of
from .patients import (
    alike as alike,
    by_regex as by_regex,
    clean as clean,
    is_missing as is_missing,
    of_person as of_person,
    people as people,
)
from .problems import refuse as refuse, together as together
from .read import (
    read_image as read_image,
    read_images as read_images,
    read_mask as read_mask,
    read_masks as read_masks,
    read_pair as read_pair,
)
from .record import Case as Case, Pixels as Pixels, Record as Record
from .site import SiteData as SiteData, prepare as prepare
from .sizes import viewable as viewable
from .splits import SPLITS as SPLITS, Split as Split
from .spool import MAX_RAM as MAX_RAM, Spool as Spool
from .steps.base import Step as Step, spec as spec
from .steps.grid import Grid as Grid
from .steps.preparing import prepared as prepared, prepared_slices as prepared_slices
from .steps.restoring import restored as restored
from .steps.slicing import stacked as stacked
from .store import Store as Store
from .suiting import (
    axes_of as axes_of,
    check_image as check_image,
    cure_of as cure_of,
    kind_of as kind_of,
    suits as suits,
)
from .tables import (
    TABLES as TABLES,
    NamedFiles as NamedFiles,
    Row as Row,
    Sheet as Sheet,
    read_sheet as read_sheet,
    read_table as read_table,
)
from .targets import Labels as Labels
from .withdrawn import Withdrawn as Withdrawn
