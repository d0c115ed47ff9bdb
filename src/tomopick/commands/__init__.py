"""What the commands do, one module each; `tomopick.cli` only names and documents them."""
