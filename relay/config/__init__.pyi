from .checking import check as check, dotted as dotted, flat as flat, holds as holds
from .decorator import Field as Field, options as options
from .describing import Option as Option, describe as describe, summary as summary
from .devices import Devices as Devices, choose as choose, visible_gpus as visible_gpus
from .load import changed as changed, locate as locate, read as read, value_of as value_of, with_files as with_files
from .names import SITE_NAME as SITE_NAME, WORDS as WORDS, fault as fault, plain_name as plain_name
from .published import Reading as Reading, translate as translate
from .schema import (
    MAX_SEED as MAX_SEED,
    Blocks as Blocks,
    CurrentTasks as CurrentTasks,
    Handoff as Handoff,
    Named as Named,
    Predict as Predict,
    PrivateTraining as PrivateTraining,
    Results as Results,
    TaskConf as TaskConf,
    Train as Train,
)
from .text import (
    MAX_BYTES as MAX_BYTES,
    Loader as Loader,
    dump as dump,
    parse as parse,
    parse_file as parse_file,
    read_own as read_own,
)
