"""A site's images: data-set plug-ins, splits, the decode-once store.

The loaders are in :mod:`relay.data.loader`, apart, for they need torch and a config is checked without it.
"""

from relay.data.dataset import Dataset
from relay.data.options import DatasetOptions, Regex, SplitName
from relay.data.sample import Case, Sample
from relay.data.site import SiteData, prepare
from relay.data.splits import SPLITS, Split, split
from relay.data.store import Store

__all__ = [
    "SPLITS",
    "Case",
    "Dataset",
    "DatasetOptions",
    "Regex",
    "Sample",
    "SiteData",
    "Split",
    "SplitName",
    "Store",
    "prepare",
    "split",
]
