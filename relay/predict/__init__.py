"""Testing finished models: on test sets, on a single image; the masks and pictures of it."""
