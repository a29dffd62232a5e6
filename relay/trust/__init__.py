"""Who says what: keys, signed documents, rosters, statements, and the record that a site keeps of them."""
