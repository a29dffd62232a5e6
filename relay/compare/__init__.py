"""One study under several strategies, site orders and seeds: which runs there are, running them, what they say."""
