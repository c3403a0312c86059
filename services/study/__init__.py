"""Studies: the same run under several configurations and seeds, and what can be told from them."""
