"""Files as they are: find them, decode them, and turn them to one orientation."""
