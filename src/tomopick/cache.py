"""The folder for what can be made again, but takes a while."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``tomopick`` in the folder that XDG_CACHE_HOME names, or else in ~/.cache; it need not be there yet."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "tomopick"
