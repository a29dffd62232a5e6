"""Sending and receiving: the rules by which a bundle is believed, and the store of what a site knows."""
