"""What stands beside a picks file: how its picks were made, and which tomograms are finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, read_picks
from tomopick.picks import Picks

__all__ = ["Journal", "ModelRecord", "file_digest", "picking_seconds"]


@dataclass(frozen=True)
class ModelRecord:
    """A model that picks were made with.

    Attributes:
        name: the model's.
        sha256: of its file.
        share: what it counts, of 1 in all.
        stride: voxels between its scores.
        backend: what computed it.
        precision: the number format in which it was computed.
    """

    name: str
    sha256: str
    share: float
    stride: int
    backend: str = "torch"
    precision: str = "fp32"


@dataclass
class Journal:
    """How picks are made and what is finished, so that starting again goes on where it stopped.

    Attributes:
        path: the file, beside the picks file.
        models: what picks.
        options: everything else that decides what is picked, as JSON can hold it.
        sizes: of each finished tomogram, by its name.
        counts: of the picks of each finished tomogram.
        seconds: that each of them took.
        plans: how the models went over each of them, in words.
    """

    path: Path
    models: Sequence[ModelRecord]
    options: dict[str, Any]
    sizes: dict[str, TomogramSize] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)

    @classmethod
    def beside(cls, picks_file: Path, models: Sequence[ModelRecord], options: dict[str, Any], overwrite: bool) -> Self:
        """The journal of a picks file, with what is finished in it; empty where everything is to be picked anew.

        Raises:
            DataError: the picks file was made in another way, or not by this command; the journal is damaged.
        """
        path = _beside(picks_file)
        journal = cls(path, models, options)
        if overwrite or not picks_file.exists():
            return journal
        try:
            stored: dict[str, Any] = json.loads(path.read_text())
            if stored["settings"] != journal.settings:
                raise DataError(
                    f"{picks_file} holds picks of another model or other options; add --overwrite to replace them, "
                    "or give another --out"
                )
            journal.sizes = {k: TomogramSize(tuple(v["xyz"]), v["pixel_size"]) for k, v in stored["sizes"].items()}
            journal.counts = stored["counts"]
            journal.seconds = stored.get("seconds", {})
            journal.plans = stored.get("plans", {})
        except FileNotFoundError as error:
            raise DataError(
                f"{picks_file} exists and was not written by this command; add --overwrite to replace it, "
                "or give another --out"
            ) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged; add --overwrite to pick everything anew") from error
        return journal

    @property
    def settings(self) -> str:
        """A hash of all that decides what is picked; models count by what is in them, not by their names."""
        models = [(m.sha256, m.share, m.stride) for m in self.models]
        backends = {m.sha256: m.backend for m in self.models if m.backend != "torch"}
        decisive = [models, self.options, *([backends] if backends else [])]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def finished(self, picks_file: Path) -> dict[str, Picks]:
        """The picks of each finished tomogram, as the file holds them.

        Raises:
            DataError: the file does not hold what was written.
        """
        if not self.counts:
            return {}
        table = read_picks(picks_file)
        found = {name: table.where(run=name) for name in self.counts}
        if any(len(found[name]) != count for name, count in self.counts.items()):
            raise DataError(
                f"{picks_file} was changed since it was written; add --overwrite to pick everything anew, or give "
                "another --out"
            )
        return found

    def save(self) -> None:
        """Write the journal, whole or not at all."""
        stored = {
            "settings": self.settings,
            "models": [asdict(model) for model in self.models],
            "options": self.options,
            "counts": self.counts,
            "seconds": self.seconds,
            "plans": self.plans,
            "sizes": {name: asdict(size) for name, size in self.sizes.items()},
        }
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(stored, indent=1))


def _beside(picks_file: Path) -> Path:
    return picks_file.with_name(f"{picks_file.name}.progress.json")


def picking_seconds(picks_file: Path) -> dict[str, float]:
    """How long each tomogram took, by its name; nothing where no journal beside the picks file tells."""
    try:
        stored = json.loads(_beside(picks_file).read_text())["seconds"]
        return {str(name): float(seconds) for name, seconds in stored.items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
