"""A handover as one file: what is in it, how it is packed, sealed, and put on a stick."""
