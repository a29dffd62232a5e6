from .base import Net as Net, NetOptions as NetOptions
from .library import LibraryOptions as LibraryOptions
