from .base import LibraryOptions as LibraryOptions, Net as Net, NetOptions as NetOptions
