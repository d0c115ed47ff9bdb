"""What lies on the desk of the one who reviews: tomograms, picks, the viewer, and what can be done with them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tomopick.errors import DataError, reason
from tomopick.io.score_maps import open_scores
from tomopick.objects import object_named
from tomopick.tomogram import Tomogram
from tomopick.view.review import Place, Review
from tomopick.view.scene import Scene
from tomopick.view.tiles import contrast, tile

__all__ = ["Desk"]


@dataclass
class Desk:
    """What lies on the desk: the tomograms, the picks under review, and the viewer.

    Attributes:
        tomograms: how to open each run's tomogram.
        review: the picks.
        token: the secret in the page's address.
        scores: folder of score maps to lay over the tomograms, by name.
        run: the run that the viewer shows.
        chosen: the object that a click in the slices adds.
    """

    tomograms: Mapping[str, Callable[[], Tomogram]]
    review: Review
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    port: int = 0
    scores: Path | None = None

    def __post_init__(self) -> None:
        self.chosen = self.review.objects[0].name
        self.thresholds = {o.name: self.review.thresholds.get(o.name, 0.0) for o in self.review.objects}
        self._drawing = ThreadPoolExecutor(1)  # with thousands of picks the viewer takes longer than a click may
        self._open = lru_cache(maxsize=4)(self._opened)
        try:
            self.scene = Scene(self.review.objects, self.add, self.port)
        except OSError as error:
            raise DataError(f"cannot serve on port {self.port}: {reason(error)}; choose another --port") from error
        found = self.review.picks.runs
        self.show(next((run for run in self.tomograms if run in found), next(iter(self.tomograms))))

    def _opened(self, run: str) -> tuple[Tomogram, tuple[float, float]]:
        if run not in self.tomograms:
            raise DataError(f"there is no run '{run}'")
        tomogram = self.tomograms[run]()
        return tomogram, contrast(tomogram)

    def show(self, run: str) -> None:
        """Show another run in the viewer."""
        tomogram, grey = self._open(run)
        self.run = run
        self.scene.show(tomogram, self.review.places(run), self.thresholds, grey)
        self._show_scores()

    def _show_scores(self) -> None:
        if self.scores is not None:
            path = self.scores / f"{self.run}.zarr"
            self.scene.show_scores(open_scores(path) if path.is_dir() else None, self.chosen)

    def add(self, xyz: tuple[float, float, float]) -> Place:
        """Add a pick of the chosen object in the run that is shown."""
        place = self.review.add(self.run, self.chosen, xyz)
        self.redraw(place.object)
        return place

    def redraw(self, *names: str) -> None:
        """Draw the picks of these objects anew, soon."""
        places = self.review.places(self.run)
        for name in dict.fromkeys(names):
            self._drawing.submit(self.scene.refresh, name, places)

    def picture(self, index: int) -> bytes:
        """A PNG of a pick."""
        place = self.review.place(index)
        tomogram, grey = self._open(place.run)
        radius = next(o.radius for o in self.review.objects if o.name == place.object)
        return tile(tomogram, place.xyz, radius, grey)

    def to_json(self) -> dict[str, Any]:
        """What the page starts from."""
        return {
            "runs": list(self.tomograms),
            "run": self.run,
            "beta": self.review.beta,
            "compared": self.review.others is not None,
            "chosen": self.chosen,
            "viewer": self.scene.url,
            "corrections": str(self.review.corrections.path),
            "objects": [
                {
                    "name": o.name,
                    "radius": o.radius,
                    "color": o.hex_color,
                    "threshold": self.thresholds[o.name],
                }
                for o in self.review.objects
            ],
            "curves": self.review.curves(),
        }

    def picks_json(self) -> dict[str, Any]:
        """The picks of the run that is shown, and the revision that they are of."""
        return {
            "run": self.run,
            "revision": self.review.revision,
            "said": len(self.review.corrections),
            "picks": [place.to_json() for place in self.review.places(self.run)],
        }

    def act(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the page asks for: `do` is say, undo, show, choose, threshold or fly.

        Raises:
            DataError: it cannot be done, or is not one of these.
        """
        try:
            return self._act(what)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the page asked for something odd: {error}") from error

    def _act(self, what: Mapping[str, Any]) -> dict[str, Any]:
        match what["do"]:
            case "say":
                return self._say(int(what["index"]), str(what["verdict"]), what.get("object"))
            case "undo":
                last = self.review.undo()
                if last is not None:
                    self.redraw(*(name for name in (last.object, last.was) if name))
            case "show":
                self.show(str(what["run"]))
            case "choose":
                self.chosen = object_named(str(what["object"]), self.review.objects).name
                self._show_scores()
            case "threshold":
                name = object_named(str(what["object"]), self.review.objects).name
                self.thresholds[name] = float(what["value"])
                self._drawing.submit(self.scene.set_threshold, name, self.thresholds[name])
            case "fly":
                self._fly(self.review.place(int(what["index"])))
            case other:
                raise ValueError(other)
        return {"revision": self.review.revision}

    def _say(self, index: int, verdict: str, name: str | None) -> dict[str, Any]:
        before = self.review.place(index).object
        place = self.review.say(index, verdict, name)
        if place.run == self.run:
            self.redraw(before, place.object)
        said = len(self.review.corrections)
        return {"revision": self.review.revision, "said": said, "pick": place.to_json()}

    def _fly(self, place: Place) -> None:
        if place.run != self.run:
            self.show(place.run)
        self._drawing.submit(self.scene.fly, place.xyz)
