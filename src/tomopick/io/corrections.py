"""What a person said of picks: a CSV file that grows with each word and is whole at any time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.picks import Picks

__all__ = ["VERDICTS", "Correction", "Corrections"]

VERDICTS = ("accepted", "rejected", "added", "open")
"""What may be said of a place; "open" takes an earlier word back."""

Key = tuple[str, str, float, float, float]


@dataclass(frozen=True)
class Correction:
    """One word about one place.

    Attributes:
        run: the run's name.
        object: what it is; of a rejected pick, what it was taken for.
        x: Angstrom, as in picks tables; so are y and z.
        y: Angstrom.
        z: Angstrom.
        score: the pick's; NaN of an added one.
        verdict: accepted, rejected, added or open.
        was: the object that the model took it for; empty of an added one.
    """

    run: str
    object: str
    x: float
    y: float
    z: float
    score: float
    verdict: str
    was: str

    @property
    def key(self) -> Key:
        """What tells places apart: run, the model's object, and coordinates to 0.01 A."""
        return self.run, self.was, round(self.x, 2), round(self.y, 2), round(self.z, 2)


class Corrections:
    """Corrections in the order in which they were made; of several about one place the last counts."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there.

        Raises:
            DataError: it is not a corrections file.
        """
        self.path = path
        self._rows = list(_read(path)) if path.exists() else []

    def __iter__(self) -> Iterator[Correction]:
        """The last word about each place that has one, in the order of the first."""
        latest = {row.key: row for row in self._rows}
        return (row for row in latest.values() if row.verdict != "open")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def say(self, correction: Correction) -> None:
        """Add a word, and write the file.

        Raises:
            DataError: it cannot be written; then nothing was said.
        """
        self._write([*self._rows, correction])

    def undo(self) -> Correction | None:
        """Take the last word back, and write the file; the word, or None where there is none.

        Raises:
            DataError: it cannot be written; then nothing was taken back.
        """
        if not self._rows:
            return None
        last = self._rows[-1]
        self._write(self._rows[:-1])
        return last

    def picks(self, *verdicts: str) -> Picks:
        """The places of which this was said, as picks of score 1."""
        chosen = [row for row in self if row.verdict in verdicts]
        parts = [Picks.of(row.run, row.object, [[row.x, row.y, row.z]]) for row in chosen]
        return Picks.join(parts)

    def _write(self, rows: list[Correction]) -> None:
        table = pd.DataFrame([astuple(row) for row in rows], columns=_columns())
        with replacing(self.path) as temporary:
            table.to_csv(temporary, index=False)
        self._rows = rows


def _columns() -> list[str]:
    return [field.name for field in fields(Correction)]


def _read(path: Path) -> Iterator[Correction]:
    text = {"run": str, "object": str, "verdict": str, "was": str}
    try:
        table = pd.read_csv(path, dtype=text, na_filter=False, converters={"score": _number})
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the corrections {path}: {reason(error)}") from error
    missing = [name for name in _columns() if name not in table.columns]
    if missing:
        raise DataError(f"{path} is not a file of corrections: it has no column {', '.join(missing)}")
    for row in table[_columns()].itertuples(index=False, name=None):
        correction = Correction(*row)
        if correction.verdict not in VERDICTS:
            raise DataError(f"{path} has the verdict '{correction.verdict}'; known: {', '.join(VERDICTS)}")
        yield correction


def _number(text: str) -> float:
    return float(text) if text else float("nan")
