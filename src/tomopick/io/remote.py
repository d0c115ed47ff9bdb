"""What the libraries that reach remote storage raise, which is not always an OSError."""

from __future__ import annotations

import sys

__all__ = ["storage_errors"]

BASES = {
    "aiohttp": ("ClientError",),
    "asyncssh": ("Error",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
}
"""By module, the errors from which all others of the libraries behind fsspec's web, ssh and S3 descend."""


def storage_errors(*local: type[Exception]) -> tuple[type[Exception], ...]:
    """For an `except` clause: these errors, and those of remote storage (of the libraries that are in use)."""
    known = [(sys.modules[module], names) for module, names in BASES.items() if module in sys.modules]
    return (*local, *(getattr(module, name) for module, names in known for name in names))
