from .base import Net as Net, NetOptions as NetOptions
