"""Writing files so that a failure leaves what was there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tomopick.errors import DataError

__all__ = ["replacing", "writing_into"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    The temporary file is hidden and has the same extension. When the block raises, it is removed and whatever stood
    at `path` is untouched. A symbolic link is followed, so the file it points to is the one replaced.

    Raises:
        DataError: the file cannot be written (no folder, no permission, disk full).
    """
    target = Path(path).resolve()
    if os.path.isdir(target):
        raise DataError(f"cannot write {path}: it is a folder; give the name of a file")
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.partial{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        kept = "; the old file is kept" if os.path.exists(target) else ""
        raise DataError(f"cannot write {path}: {error.strerror or error}{kept}") from error
    finally:
        # Also after a keyboard interrupt. What goes wrong here must not hide what went wrong before.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Make a folder if need be, for the block to write into.

    Raises:
        DataError: it cannot be made, or the block cannot write.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}") from error


def _flush(path: Path) -> None:
    """Bring a file to the disk, where some file systems first notice that they are full."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
