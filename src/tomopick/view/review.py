"""The picks under review: what the model found, what a person said of it, and how good it is where a truth tells."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomopick.curves import curve_of, threshold_curve
from tomopick.errors import DataError
from tomopick.io.corrections import Correction, Corrections
from tomopick.matching import match, match_all
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import Picks

__all__ = ["Place", "Review"]

CURVE_POINTS = 400


@dataclass
class Place:
    """One pick, or one place that a person added.

    Attributes:
        index: its number, by which the page calls it.
        run: the run's name.
        was: the object that the model took it for; empty if a person added it.
        object: what it is now.
        xyz: Angstrom.
        score: the model's; NaN if a person added it.
        verdict: accepted, rejected, added, or empty.
        apart: how far another model's score of the same place is from this one.
    """

    index: int
    run: str
    was: str
    object: str
    xyz: tuple[float, float, float]
    score: float
    verdict: str = ""
    apart: float = 0.0

    def correction(self, verdict: str, name: str) -> Correction:
        """The word that says so."""
        return Correction(self.run, name, *self.xyz, self.score, verdict, self.was)

    def to_json(self) -> list[Any]:
        """As the page reads it: index, object, was, score, x, y, z, verdict, disagreement."""
        score = None if math.isnan(self.score) else round(self.score, 4)
        return [
            self.index,
            self.object,
            self.was,
            score,
            *(round(v, 2) for v in self.xyz),
            self.verdict,
            round(self.apart, 4),
        ]


@dataclass
class Review:
    """What the page shows and changes; one for all tabs, so each change takes a lock.

    Attributes:
        picks: what the model found.
        objects: the objects, in the order of the page.
        corrections: what was said, on the disk.
        truth: the annotated particles, where they are known.
        thresholds: where each object's slider stands at first.
        others: what another model found, to sort by disagreement.
        save: called with a run after each change in it, to keep what was said elsewhere, too.
        beta: of the F-beta shown.
        revision: a number that grows with each change, by which tabs learn of those of others.
    """

    picks: Picks
    objects: Sequence[ParticleObject]
    corrections: Corrections
    truth: Picks | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    others: Picks | None = None
    save: Callable[[str], object] | None = None
    beta: float = 4.0
    revision: int = 0

    def __post_init__(self) -> None:
        names = {o.name for o in self.objects}
        unknown = [name for name in self.picks.objects if name not in names]
        if unknown:
            raise DataError(f"unknown object '{unknown[0]}' in the picks; known: {', '.join(sorted(names))}")
        self._lock = threading.RLock()
        self._apart = self._disagreement()
        self._load()

    def _load(self) -> None:
        """The places, from the picks and all that was said of them."""
        table = self.picks.table
        rows = zip(table["run"], table["object"], self.picks.xyz().tolist(), self.picks.scores(), strict=True)
        self._places = [
            Place(i, str(run), str(name), str(name), (xyz[0], xyz[1], xyz[2]), float(score), apart=self._apart[i])
            for i, (run, name, xyz, score) in enumerate(rows)
        ]
        known = {place.correction("", "").key: place for place in self._places}
        for said in self.corrections:
            place = known.get(said.key)
            if place is not None:
                place.verdict, place.object = said.verdict, said.object
            elif said.verdict == "added":
                xyz = (said.x, said.y, said.z)
                self._places.append(Place(len(self._places), said.run, "", said.object, xyz, said.score, "added"))

    def _disagreement(self) -> list[float]:
        """By pick, the difference of the other model's highest score of that object within its match distance.

        A place that the other has not picked has a score of 0 there.
        """
        if self.others is None:
            return [0.0] * len(self.picks)
        other = np.zeros(len(self.picks))
        table = self.picks.table
        for one in self.objects:
            for run in self.picks.runs:
                rows = ((table["run"] == run) & (table["object"] == one.name)).to_numpy()
                theirs = self.others.where(run, one.name)
                found = match(theirs.xyz(), theirs.scores(), self.picks.xyz()[rows], one.match_distance)
                other[rows] = np.maximum(found.best, 0.0)
        return [float(v) for v in np.abs(self.picks.scores() - other)]

    def places(self, run: str) -> list[Place]:
        """All places in a run, also those rejected."""
        with self._lock:
            return [place for place in self._places if place.run == run]

    def place(self, index: int) -> Place:
        """The place of this number.

        Raises:
            DataError: there is none.
        """
        if not 0 <= index < len(self._places):
            raise DataError(f"there is no pick {index}")
        return self._places[index]

    def say(self, index: int, verdict: str, name: str | None = None) -> Place:
        """Accept, reject or relabel (accepted as another object) a pick, or reject one that a person added.

        Raises:
            DataError: there is no such pick, verdict or object, or it cannot be written.
        """
        with self._lock:
            place = self.place(index)
            if verdict not in ("accepted", "rejected"):
                raise DataError(f"'{verdict}' is not accepted or rejected")
            if verdict == "accepted" and not place.was:
                verdict = "added"
            chosen = object_named(name, self.objects).name if name else place.object
            if verdict == "rejected":
                chosen = place.was or place.object
            self.corrections.say(place.correction(verdict, chosen))
            place.verdict, place.object = verdict, chosen
            self._changed(place.run)
            return place

    def add(self, run: str, name: str, xyz: tuple[float, float, float]) -> Place:
        """Add a particle that the model missed, at xyz in Angstrom.

        Raises:
            DataError: there is no such object, or it cannot be written.
        """
        with self._lock:
            place = Place(len(self._places), run, "", object_named(name, self.objects).name, xyz, math.nan, "added")
            self.corrections.say(place.correction("added", place.object))
            self._places.append(place)
            self._changed(place.run)
            return place

    def undo(self) -> Correction | None:
        """Take the last word back, whoever said it and when; None where there is none."""
        with self._lock:
            last = self.corrections.undo()
            if last is not None:
                self._load()
                self._changed(last.run)
            return last

    def _changed(self, run: str) -> None:
        self.revision += 1
        if self.save is not None:
            self.save(run)

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """Thresholds, precision, recall and F-beta of each object against the truth, over the runs that hold picks."""
        if self.truth is None:
            return {}
        runs = self.picks.runs
        matches = match_all(self.picks, self.truth, self.objects, runs)
        table = threshold_curve(self.picks, self.truth, self.objects, self.beta, runs)
        found = {}
        for name, by_run in matches.items():
            curve = curve_of(by_run.values())
            f = table.loc[table["object"] == name, "f_beta"].to_numpy(np.float64)
            chosen = np.unique(np.linspace(0, len(f) - 1, min(CURVE_POINTS, len(f))).round().astype(int))
            columns = {"threshold": curve.thresholds, "precision": curve.precision, "recall": curve.recall, "f": f}
            found[name] = {key: values[chosen].round(5).tolist() for key, values in columns.items()}
        return found
