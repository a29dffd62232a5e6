from .study import StudyRecord as StudyRecord, read_record as read_record
from .writing import Dossier as Dossier, write_dossier as write_dossier
