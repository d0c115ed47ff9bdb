"""Training a network on annotated tomograms."""
