"""The metrics of predictions that any tool made: ``relay score``. Masks are measured without torch."""
