"""Find and classify protein particles in cryo-electron tomograms."""
