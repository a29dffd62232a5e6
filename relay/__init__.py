"""relay: one model, many hospitals, no network between them."""

__version__ = "0.1.0"
