"""What can go wrong with what a user gives, said in one line: what, where, and what to do."""

from __future__ import annotations

__all__ = ["DataError", "ModelFileError", "TomopickError"]


class TomopickError(Exception):
    """A mistake in the input that the user can mend; commands print it in one line and exit with 2."""


class DataError(TomopickError):
    """A tomogram, picks file or project that cannot be read, or does not hold what was asked for."""


class ModelFileError(TomopickError):
    """A model file that is not one, is damaged, or does not fit the use it is put to."""
