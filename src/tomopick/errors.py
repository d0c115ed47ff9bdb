"""What can go wrong with what a user gives, said in one line: what, where, and what to do."""

from __future__ import annotations

__all__ = ["DataError", "ModelFileError", "TomopickError", "reason"]


class TomopickError(Exception):
    """A mistake in the input that the user can mend; commands print it in one line and exit with 2."""


class DataError(TomopickError):
    """A tomogram, picks file or project that cannot be read, or does not hold what was asked for."""


class ModelFileError(TomopickError):
    """A model file that is not one, is damaged, or does not fit the use it is put to."""


def reason(error: BaseException) -> str:
    """What another library's error says, in one line: the system's words if it has any, else its own, else its name."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())
