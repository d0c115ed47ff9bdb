"""`python -m tomopick` is `tomopick`."""

from tomopick.cli import main

if __name__ == "__main__":
    main()
