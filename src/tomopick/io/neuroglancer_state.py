"""Picks as a state of neuroglancer, as a file of its own or as a link; and the layer that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.geometry import corner_from_angstrom
from tomopick.objects import named_alone
from tomopick.picks import Picks

__all__ = ["GREY", "coordinate_space", "point", "points_layer", "write_link", "write_state"]

GREY = "#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }"
"""How a tomogram is drawn."""

POINTS = """
#uicontrol float threshold slider(min=0, max=1, default=0)
void main() {
  if (prop_score() < threshold) discard;
  setColor(vec4(defaultColor(), 0.15));
  setPointMarkerSize(14.0);
  setPointMarkerBorderWidth(2.0);
  setPointMarkerBorderColor(defaultColor());
}
"""
"""Rings about picks; those below the slider are not drawn."""

ALWAYS = 2.0
"""The score of what no slider hides."""


def coordinate_space(spacing: float, names: Sequence[str] = ("x", "y", "z")) -> Any:
    """neuroglancer's space of voxels of this spacing in Angstrom."""
    import neuroglancer

    return neuroglancer.CoordinateSpace(names=list(names), units="nm", scales=[spacing / 10] * 3)


def points_layer(spacing: float, color: str, points: Sequence[dict[str, Any]], threshold: float = 0.0) -> Any:
    """The layer of one object's picks: rings, and a slider that hides those of a lower score.

    Args:
        spacing: voxel spacing in Angstrom.
        color: as pages write it.
        points: as `point` makes them.
        threshold: where the slider stands.
    """
    import neuroglancer

    return neuroglancer.LocalAnnotationLayer(
        coordinate_space(spacing),
        annotation_properties=[{"id": "score", "type": "float32", "default": ALWAYS}],
        annotation_color=color,
        shader=POINTS,
        shader_controls={"threshold": threshold},
        annotations=list(points),
    )


def point(index: int, corner: NDArray[np.float64], score: float) -> dict[str, Any]:
    """One pick, in voxels from the corner of the first (`geometry.corner_from_angstrom`); NaN scores always show."""
    shown = ALWAYS if np.isnan(score) else float(score)
    return {"type": "point", "id": str(index), "point": corner.tolist(), "props": [shown]}


def write_state(path: Path, picks: Picks, spacing: float, tomogram: str | None) -> None:
    """Write the state of a neuroglancer that shows the picks of one tomogram, to paste into its state editor.

    Args:
        path: the JSON file.
        picks: of one run, which the state is titled by.
        spacing: the tomogram's voxel spacing in Angstrom.
        tomogram: its address as neuroglancer takes it, "zarr://https://..."; None shows picks alone.

    Raises:
        DataError: the picks are of several runs, neuroglancer is not installed, or the file cannot be written; an old
            one survives.
    """
    state = _state(path, picks, spacing, tomogram).to_json()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(state, indent=1) + "\n")


def write_link(path: Path, picks: Picks, spacing: float, tomogram: str | None) -> None:
    """Write one line: the address of neuroglancer's public page with the state of `write_state` in it."""
    state = _state(path, picks, spacing, tomogram)
    import neuroglancer

    with replacing(path) as temporary:
        temporary.write_text(neuroglancer.to_url(state) + "\n")


def _state(path: Path, picks: Picks, spacing: float, tomogram: str | None) -> Any:
    try:
        import neuroglancer
    except ImportError as error:
        raise DataError(f"{error.name} is not installed: pip install 'tomopick[view]'") from error
    if len(picks.runs) > 1:
        raise DataError(f"{path}: a state is of one tomogram, and these picks are of {', '.join(picks.runs)}")
    state = neuroglancer.ViewerState()
    state.dimensions = coordinate_space(spacing)
    state.title = next(iter(picks.runs), path.stem)
    if tomogram is not None:
        state.layers["tomogram"] = neuroglancer.ImageLayer(source=tomogram, shader=GREY)
    for particle in named_alone(picks.objects):
        here = picks.where(name=particle.name)
        corners = corner_from_angstrom(here.xyz(), spacing)
        points = [point(i, corner, s) for i, (corner, s) in enumerate(zip(corners, here.scores(), strict=True))]
        state.layers[particle.name] = points_layer(spacing, particle.hex_color, points)
    if len(picks):
        state.position = corner_from_angstrom(picks.xyz().mean(axis=0), spacing).tolist()
    state.layout = "4panel"
    return state
