"""neuroglancer's viewer with one tomogram, its picks as points, and perhaps a score map."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.geometry import angstrom_from_corner, corner_from_angstrom
from tomopick.io.neuroglancer_state import GREY, coordinate_space, point, points_layer
from tomopick.io.score_maps import SavedScores
from tomopick.objects import ParticleObject
from tomopick.tomogram import Tomogram
from tomopick.view.review import Place

__all__ = ["LOOPBACK", "Scene"]

LOOPBACK = "127.0.0.1"
"""The address that this machine alone can reach."""

ADDING = "control+mousedown0"
"""What adds a pick in the slices."""

OVERLAY = """
#uicontrol invlerp normalized
void main() {
  float score = normalized();
  emitRGBA(vec4(1.0, 0.45, 0.1, 0.7 * score));
}
"""

Add = Callable[[tuple[float, float, float]], object]


@dataclass
class _Served:
    """A tomogram as neuroglancer reads it: one region at a time, whatever file it comes from."""

    tomogram: Tomogram
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # neuroglancer reads from several threads, files have one place

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tomogram.shape

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        with self._lock:
            return self.tomogram[region]


@dataclass
class _Channel:
    """The scores of one object as neuroglancer reads them."""

    saved: SavedScores
    channel: int
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.saved.array.shape[1:])

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        return np.asarray(self.saved.array[(self.channel, *region)])


class Scene:
    """The viewer, and what is in it."""

    def __init__(self, objects: Sequence[ParticleObject], add: Add, port: int = 0) -> None:
        """Start neuroglancer's own server on loopback.

        Args:
            objects: one layer each, in their colours.
            add: called with xyz in Angstrom when the user asks for a pick there.
            port: of neuroglancer's server; any free one by default.
        """
        import neuroglancer

        neuroglancer.set_server_bind_address(LOOPBACK, port)
        self.objects = objects
        self.viewer = neuroglancer.Viewer()
        self.spacing = 1.0
        self.viewer.actions.add("tomopick-add", lambda event: self._add(event, add))
        with self.viewer.config_state.txn() as config:
            config.input_event_bindings.data_view[ADDING] = "tomopick-add"
            config.show_layer_panel = False

    @property
    def url(self) -> str:
        """Where the viewer is; the address holds a secret of its own.

        It says localhost, not 127.0.0.1 as the page's does: so it is another site to the browser, which draws it in
        another process, and the page stays swift while the viewer draws.
        """
        return str(self.viewer.get_viewer_url()).replace(LOOPBACK, "localhost", 1)

    def show(
        self, tomogram: Tomogram, places: Sequence[Place], thresholds: Mapping[str, float], grey: tuple[float, float]
    ) -> None:
        """Show a tomogram and its picks instead of what is shown."""
        import neuroglancer as ng

        self.spacing = tomogram.spacing
        with self.viewer.txn() as state:
            state.dimensions = coordinate_space(tomogram.spacing)
            state.layers.clear()
            state.layers["tomogram"] = ng.ImageLayer(
                source=ng.LocalVolume(_Served(tomogram), dimensions=coordinate_space(tomogram.spacing, "zyx")),
                shader=GREY,
                shader_controls={"normalized": {"range": list(grey)}},
            )
            for particle in self.objects:
                threshold = thresholds.get(particle.name, 0.0)
                state.layers[particle.name] = points_layer(
                    tomogram.spacing, particle.hex_color, self._points(particle.name, places), threshold
                )
            state.position = [n / 2 for n in tomogram.shape[::-1]]
            state.cross_section_scale = max(tomogram.shape) / 450
            state.projection_scale = 1.5 * max(tomogram.shape)
            state.show_axis_lines = False
            state.layout = "4panel"

    def show_scores(self, saved: SavedScores | None, name: str) -> None:
        """Lay the scores of one object over the tomogram; None, or an object without scores, takes them away."""
        import neuroglancer as ng

        with self.viewer.txn() as state:
            if "scores" in state.layers:
                del state.layers["scores"]
            if saved is None or name not in saved.objects:
                return
            space = coordinate_space(saved.spacing, "zyx")
            # grid points and voxels have their first centre in common, and neuroglancer counts from corners
            apart = 0.5 * self.spacing / saved.spacing - 0.5
            source = ng.LayerDataSource(
                url=ng.LocalVolume(_Channel(saved, saved.objects.index(name)), dimensions=space),
                transform=ng.CoordinateSpaceTransform(
                    output_dimensions=space, matrix=np.hstack([np.eye(3), np.full((3, 1), apart)])
                ),
            )
            state.layers["scores"] = ng.ImageLayer(
                source=source, shader=OVERLAY, shader_controls={"normalized": {"range": [0.05, 1.0]}}, opacity=1.0
            )

    def refresh(self, name: str, places: Sequence[Place]) -> None:
        """Draw the picks of one object anew."""
        with self.viewer.txn() as state:
            state.layers[name].annotations = self._points(name, places)

    def set_threshold(self, name: str, value: float) -> None:
        """Leave out the picks of one object below a score."""
        with self.viewer.txn() as state:
            state.layers[name].shader_controls = {"threshold": value}

    def fly(self, xyz: tuple[float, float, float]) -> None:
        """Centre all views on a place, Angstrom."""
        with self.viewer.txn() as state:
            state.position = corner_from_angstrom(xyz, self.spacing).tolist()

    def _points(self, name: str, places: Sequence[Place]) -> list[dict[str, Any]]:
        shown = [p for p in places if p.object == name and p.verdict != "rejected"]
        centres = corner_from_angstrom([p.xyz for p in shown], self.spacing)
        return [point(place.index, centre, place.score) for place, centre in zip(shown, centres, strict=True)]

    def _add(self, event: Any, add: Add) -> None:
        if event.mouse_position is None:
            return
        x, y, z = angstrom_from_corner(event.mouse_position[:3], self.spacing).tolist()
        add((x, y, z))
