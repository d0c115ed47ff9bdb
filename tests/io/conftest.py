"""What tests of files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Call it with a path: what is written there from then on meets a full disk."""
    if not FULL.exists():
        pytest.skip("needs a device that is always full")

    def fill(path: Path) -> None:
        # the name that `tomopick.atomic` writes to before it replaces the path
        monkeypatch.setattr("secrets.token_hex", lambda size: "full")
        path.with_name(f".{path.stem}.full.partial{path.suffix}").symlink_to(FULL)

    return fill
