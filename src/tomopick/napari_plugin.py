"""tomopick in napari: tomograms, picks and models as layers, and a widget that picks.

All layers are in Angstrom, zyx, with the first voxel's centre at 0, so that they lie on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomopick.geometry import voxel_from_angstrom
from tomopick.inference.picking import pick
from tomopick.io.picks import FORMATS, read_picks
from tomopick.io.tomograms import read_tomogram
from tomopick.models.modelfile import load_model, read_spec
from tomopick.objects import ParticleObject, named_alone
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

__all__ = ["pick_layers", "pick_widget", "reader_of"]

Layer = tuple[Any, dict[str, Any], str]
"""Data, attributes and type, as napari takes layers."""

MODEL = ".safetensors"
ANGSTROM = {"units": "angstrom"}


def reader_of(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """What opens this file, or these, by the ending; None leaves several files of one stack to others."""
    return _read if isinstance(path, str) else None


def _read(path: str | Sequence[str]) -> list[Layer]:
    file = Path(str(path))
    ending = file.suffix.lower()
    if ending == MODEL:
        spec = read_spec(file)
        told = {"model": str(file.resolve()), "thresholds": spec.thresholds}
        return [_points(Picks.empty(), particle, told) for particle in spec.objects]
    if ending in {form.extension for form in FORMATS if form.read is not None}:
        picks = read_picks(file)
        return [_points(picks.where(name=o.name), o, {"picks": str(file)}) for o in named_alone(picks.objects)]
    return [_image(read_tomogram(file))]


def _image(tomogram: Tomogram) -> Layer:
    # napari asks for what it shows, but for all of it where it draws in 3D
    attributes = {"name": tomogram.name, "scale": (tomogram.spacing,) * 3, "rendering": "minip", **ANGSTROM}
    return np.asarray(tomogram[:, :, :]), attributes, "image"


def _points(picks: Picks, particle: ParticleObject, told: dict[str, Any]) -> Layer:
    """A layer of one object's picks, as balls of its size; run and score are features of each."""
    attributes = {
        "name": particle.name,
        "ndim": 3,
        "size": 2 * particle.radius,
        "face_color": "transparent",
        "border_color": particle.hex_color,
        "out_of_slice_display": True,
        "features": {"run": picks.table["run"].to_numpy(), "score": picks.scores()},
        "metadata": told,
        **ANGSTROM,
    }
    # coordinates of a layer at a scale of 1 are Angstrom, in napari's order of axes
    return voxel_from_angstrom(picks.xyz(), 1.0), attributes, "points"


def pick_layers(densities: Any, spacing: float, model: Path, name: str = "tomogram") -> list[Layer]:
    """Pick a tomogram that is a layer already.

    Args:
        densities: zyx.
        spacing: its voxel spacing in Angstrom.
        model: a model file.
        name: of the run.

    Returns:
        A layer of points for each object of the model.

    Raises:
        TomopickError: the layer is no tomogram, or the file is no model.
    """
    loaded = load_model(model)
    picks = pick(loaded, Tomogram(densities, spacing, name))
    told = {"model": str(model), "thresholds": loaded.spec.thresholds}
    return [_points(picks.where(name=o.name), o, told) for o in loaded.spec.objects]


def pick_widget() -> Any:
    """The widget: a tomogram's layer and a model file, and a button; the viewer stays free while it works."""
    from magicgui import magicgui
    from napari.layers import Image
    from napari.qt.threading import FunctionWorker, thread_worker
    from napari.types import LayerDataTuple
    from napari.utils.notifications import show_error

    def picking(tomogram: Any, model: Path, voxel_spacing: float = 0.0) -> Any:
        spacing = voxel_spacing or float(tomogram.scale[-1])

        @thread_worker(  # type: ignore[untyped-decorator]
            connect={"errored": lambda error: show_error(str(error))}, progress={"total": 0}
        )
        def working() -> list[Layer]:
            return pick_layers(tomogram.data, spacing, model, tomogram.name)

        return working()

    # magicgui makes an entry for each type, and cannot look up names that are imported in a function
    picking.__annotations__ = {
        "tomogram": Image,
        "model": Path,
        "voxel_spacing": float,
        "return": FunctionWorker[list[LayerDataTuple]],
    }
    return magicgui(
        picking,
        call_button="Pick",
        model={"filter": f"*{MODEL}", "tooltip": "A model of tomopick train"},
        voxel_spacing={"tooltip": "Angstrom; 0 takes the layer's scale", "max": 100.0},
    )
