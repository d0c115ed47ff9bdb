"""A local page to look at picks and to correct them."""
