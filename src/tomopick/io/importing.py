"""Make a copick project of what labs have: tomogram files or RELION 5's tomograms.star, with picks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tomopick.atomic import writing_into
from tomopick.errors import DataError
from tomopick.io.copick_picks import check_run_name
from tomopick.io.picks import read_picks
from tomopick.io.project import RUNS, Project, create_project
from tomopick.io.star import StarTomogram, TomogramSize, read_tomograms_star
from tomopick.io.tomograms import read_tomogram, tomogram_files
from tomopick.objects import CZII_OBJECTS, CZII_WEIGHTS, ParticleObject, distinct_color
from tomopick.picks import Picks, check_inside
from tomopick.tomogram import Tomogram

__all__ = ["IMPORT_SESSION", "IMPORT_USER", "import_project", "parse_object"]

IMPORT_USER = "imported"
IMPORT_SESSION = "1"

STAR_FILE = "rlnTomoReconstructedTomogram"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Source:
    """A tomogram to import; `size` is RELION's own, in unbinned pixels, where it says."""

    tomogram: Tomogram
    size: TomogramSize | None = None


def parse_object(text: str) -> tuple[str, ParticleObject]:
    """The name in picks files and the object that "ribosome=150" or "80S:ribosome=150" say, radius in Angstrom.

    Raises:
        DataError: the text is neither.
    """
    names, equals, radius = text.rpartition("=")
    source, colon, name = names.rpartition(":")
    source = source if colon else name
    try:
        value = float(radius)
    except ValueError:
        value = 0.0
    if not (equals and source.strip() and name.strip() and 0 < value < np.inf):
        raise DataError(f"cannot understand the object '{text}'; write NAME=RADIUS or NAME-IN-PICKS:NAME=RADIUS")
    name = name.strip()
    return source.strip(), ParticleObject(name=name, radius=value, weight=CZII_WEIGHTS.get(name, 1.0))


def import_project(
    out: str | Path,
    source: str | Path,
    picks: str | Path | None = None,
    objects: Mapping[str, ParticleObject] | None = None,
    voxel_spacing: float | None = None,
    kind: str = "wbp",
    progress: Progress | None = None,
) -> Project:
    """Make a copick project in a folder: `out`/config.json, and the tomograms and picks beside it.

    Everything is checked before anything is copied, and the project is there only when all of it is.

    Args:
        out: a folder, new or without a project.
        source: a folder of tomogram files, one such file, or a RELION 5 tomograms.star (its paths may start from any
            folder above it, as RELION's do).
        picks: a CSV or STAR file. STAR coordinates in pixels of unsaid size count in the tilt-series pixels of
            tomograms.star, or else in the voxels of the tomograms.
        objects: by name in the picks file; several names may give the same object. Without it, the picks must name
            objects of the CZII challenge.
        voxel_spacing: Angstrom, instead of what the files say.
        kind: the tomograms' type in the project; with a tomograms.star, "denoised" takes its denoised tomograms.
        progress: called as each tomogram is copied, with the number done, the number in all and the run's name.

    Raises:
        DataError: anything that cannot be read, does not fit together or cannot be written.
    """
    out = Path(out)
    if (out / "config.json").exists() or (out / RUNS).exists():
        raise DataError(f"{out} holds a project already; choose another folder")
    sources = _sources(Path(source), voxel_spacing, kind)
    found = Picks.empty()
    if picks is not None:
        only = next(iter(objects)) if objects and len(objects) == 1 else None
        found = _read(Path(picks), sources, only)
    table, chosen = _renamed(found, objects)
    for run in table.runs:
        check_inside(table, sources[run].tomogram, slack=max(o.radius for o in chosen))
    with _workplace(out) as work:
        project = create_project(work / "config.json", chosen)
        for done, (run, one) in enumerate(sources.items()):
            volume = one.tomogram.read((0, 0, 0), one.tomogram.shape)
            project.add_tomogram(run, kind, one.tomogram.spacing, volume)
            if progress is not None:
                progress(done + 1, len(sources), run)
        project.add_picks(table, IMPORT_USER, IMPORT_SESSION)
        finished = create_project(out / "config.json", chosen)
        (work / RUNS).rename(out / RUNS)
    return finished


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A hidden folder in `out` to build the project in, removed at the end; `out` too if it was made for nothing."""
    new = not out.exists()
    try:
        with (
            writing_into(out),
            tempfile.TemporaryDirectory(prefix=".import-", dir=out, ignore_cleanup_errors=True) as work,
        ):
            yield Path(work)
    except BaseException:
        if new:
            with suppress(OSError):
                out.rmdir()
        raise


def _sources(source: Path, voxel_spacing: float | None, kind: str) -> dict[str, Source]:
    """The tomograms by run name."""
    if source.suffix.lower() == ".star":
        rows = read_tomograms_star(source)
        found = [_from_star(row, source, voxel_spacing, kind) for row in rows]
    else:
        files = tomogram_files(source) if source.is_dir() and source.suffix != ".zarr" else [source]
        found = [Source(read_tomogram(file, voxel_spacing)) for file in files]
    sources: dict[str, Source] = {}
    for one in found:
        check_run_name(one.tomogram.name)
        if one.tomogram.name in sources:
            raise DataError(f"{source} holds two tomograms called '{one.tomogram.name}'; rename one")
        sources[one.tomogram.name] = one
    if not sources:
        raise DataError(f"{source} lists no tomograms")
    return sources


def _from_star(row: StarTomogram, star: Path, voxel_spacing: float | None, kind: str) -> Source:
    column = STAR_FILE + ("Denoised" if kind == "denoised" else "")
    if column not in row.files:
        there = ", ".join(row.files) or "no reconstruction"
        raise DataError(f"{star} has no column {column} for tomograms of type '{kind}'; it has: {there}")
    name = row.files[column]
    folder = next((f for f in star.resolve().parents if (f / name).is_file()), None)
    if folder is None:
        raise DataError(f"{star} names the tomogram {name}, which is in none of the folders above it")
    tomogram = read_tomogram(folder / name, voxel_spacing or row.spacing)
    return Source(replace(tomogram, name=row.name), row.size)


def _read(path: Path, sources: Mapping[str, Source], only: str | None) -> Picks:
    """The picks, in runs that have a tomogram."""
    sizes = {run: one.size or TomogramSize.of(one.tomogram) for run, one in sources.items()}
    pixels = [size.pixel_size for size in sizes.values()]
    spacing = pixels[0] if np.allclose(pixels, pixels[0], rtol=1e-5) else None
    picks = read_picks(path, spacing=spacing, tomogram_sizes=sizes, object_name=only)
    missing = [run for run in picks.runs if run not in sources]
    if missing:
        raise DataError(
            f"{path} has picks in {', '.join(missing)}, but there is no such tomogram; there are: {', '.join(sources)}"
        )
    return picks


def _renamed(picks: Picks, objects: Mapping[str, ParticleObject] | None) -> tuple[Picks, list[ParticleObject]]:
    """The picks under the objects' names, and the objects, each with a label and colour of its own."""
    if objects is None:
        objects = {o.name: o for o in CZII_OBJECTS if o.name in picks.objects}
    unknown = [name for name in picks.objects if name not in objects]
    if not objects and not unknown:
        raise DataError("no particle objects: no picks tell what to look for; say --object NAME=RADIUS")
    if unknown:
        say = " ".join(f'--object "{name}=RADIUS"' for name in unknown)
        raise DataError(f"the picks hold {', '.join(unknown)}, of unknown radius; say {say}")
    chosen: dict[str, ParticleObject] = {}
    for one in objects.values():
        if chosen.setdefault(one.name, one).radius != one.radius:
            raise DataError(f"object '{one.name}' has two radii: {chosen[one.name].radius:g} and {one.radius:g} A")
    table = picks.table.assign(object=[objects[name].name for name in picks.table["object"]])
    labelled = [
        o.model_copy(update={"label": i + 1, "color": distinct_color(i)}) for i, o in enumerate(chosen.values())
    ]
    return Picks(table), labelled
