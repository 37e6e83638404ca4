"""One module per change of the tables, in a line."""
