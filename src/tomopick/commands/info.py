"""`tomopick info`: what a tomogram, a picks file, a project or a model holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomopick.commands.screen import out, table
from tomopick.commands.sources import is_project, project_at
from tomopick.errors import DataError
from tomopick.io.picks import FORMATS, read_picks
from tomopick.io.tomograms import read_tomogram
from tomopick.models.modelfile import read_spec
from tomopick.picks import Picks
from tomopick.training.start import told_start

__all__ = ["describe"]


def describe(path: Path, voxel_spacing: float | None = None) -> None:
    """Print what the path holds.

    Raises:
        TomopickError: it is nothing that tomopick reads.
    """
    if not path.exists():
        raise DataError(f"there is no file or folder {path}")
    if path.suffix == ".safetensors":
        _model(path)
    elif is_project(path):
        _project(path)
    elif path.suffix.lower() in {f.extension for f in FORMATS}:
        _counts(f"Picks in {path.name}", read_picks(path, spacing=voxel_spacing))
    else:
        _tomogram(path, voxel_spacing)


def _say(*lines: str) -> None:
    out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _model(path: Path) -> None:
    spec = read_spec(path)
    _say(
        f"model of {spec.architecture} {spec.arguments}",
        f"for tomograms of {spec.spacing:g} A voxels, type '{spec.kind or 'not said'}'",
        f"normalisation {spec.normalisation.method}, cut at {spec.normalisation.clip:g} deviations",
    )
    rows = [[o.name, f"{o.radius:g}", f"{o.weight:g}", f"{spec.thresholds.get(o.name, 0):.3f}"] for o in spec.objects]
    table("Objects", ["object", "radius (A)", "weight", "threshold"], rows)
    told = spec.provenance
    recipe = told.get("recipe", {})
    _say(
        f"trained on {', '.join(told.get('training', {})) or 'not said'}; "
        f"validated on {', '.join(told.get('validation', {})) or 'not said'}",
        f"epochs {told.get('epochs', '?')}, the model's {told.get('epoch', '?')}, minutes {told.get('minutes', '?')}, "
        f"seed {recipe.get('seed', '?')}, weighted F{float(told.get('validation_beta', 4)):g} in validation "
        f"{float(told.get('validation_score', 'nan')):.3f}",
        f"started from {told_start(told)}; versions {told.get('versions', {})}",
    )


def _project(path: Path) -> None:
    project = project_at(path)
    objects = [[o.name, f"{o.radius:g}", f"{o.weight:g}", str(o.label)] for o in project.objects]
    table("Objects", ["object", "radius (A)", "weight", "label"], objects)
    rows = []
    for run in project.runs:
        kinds = ", ".join(f"{kind} at {spacing:g} A" for spacing, kind in project.tomogram_kinds(run)) or "none"
        sets = project.root.get_run(run).picks
        makers = sorted({f"{p.user_id}/{p.session_id}" for p in sets})
        rows.append([run, kinds, ", ".join(makers) or "none"])
    table(f"Runs of {path}", ["run", "tomograms", "picks by user/session"], rows)


def _counts(title: str, picks: Picks) -> None:
    runs = picks.runs
    counted = picks.table.groupby(["object", "run"]).size()
    rows = [
        [name, *[str(int(counted.get((name, run), 0))) for run in runs[:8]], str(len(picks.where(name=name)))]
        for name in picks.objects
    ]
    table(title, ["object", *runs[:8], f"all {len(runs)} runs"], rows)


def _tomogram(path: Path, voxel_spacing: float | None) -> None:
    tomogram = read_tomogram(path, voxel_spacing)
    depth, height, width = tomogram.shape
    middle = tomogram.read((depth // 2, 0, 0), (depth // 2 + 1, height, width))
    _say(
        f"tomogram '{tomogram.name}'",
        f"voxels (z, y, x)   {depth} x {height} x {width} of {tomogram.spacing:g} A, {tomogram.array.dtype}",
        f"size (x, y, z)     {' x '.join(f'{n * tomogram.spacing / 10:.1f}' for n in (width, height, depth))} nm",
        f"middle plane       mean {middle.mean():.4g}, deviation {middle.std():.4g}, "
        f"from {np.min(middle):.4g} to {np.max(middle):.4g}",
    )
