"""Structures of particles from files: atomic models (PDB, mmCIF) and averaged maps (MRC)."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from tomopick.errors import DataError
from tomopick.io.lazy import reading
from tomopick.io.tomograms import read_tomogram
from tomopick.structures import Structure

__all__ = ["parse_structure", "read_structure"]

ATOMIC = (".pdb", ".ent", ".cif", ".mmcif")
MAPS = (".mrc", ".map", ".ccp4")
_FINE = 2.0  # Angstrom between the voxels that atoms are counted in, at least
_MOST = 200  # of these voxels along an edge
_COARSE = 4.0  # Angstrom between the voxels of a map, at most, where its own are finer: enough for tomograms
_NOISE = 3.0  # deviations above the mean of what surrounds a map's particle
_PIECE = 0.05  # share of the largest piece's mass below which another one is noise


def read_structure(path: str | Path, name: str, mass: float | None = None) -> Structure:
    """The structure of one kind of particle, to be simulated.

    Of an atomic model the first model is taken, as the first biological assembly that the file describes where it
    describes one, without waters. Hydrogens, which few files have, are missed: 7 percent of a protein's mass. In a map
    the particle is bright. It is what rises by more than three deviations above the mean of the densities at the faces
    of the box, which counts as zero, without pieces that are less than a twentieth of the largest, as noise has many.

    Args:
        path: PDB or mmCIF, or an MRC map; also gzipped, as the Protein Data Bank and EMDB give them.
        name: of the particle.
        mass: kDa; a map does not tell it, an atomic model does, but may leave parts of the particle out.

    Raises:
        DataError: the file is missing, of another kind or damaged, holds nothing, or is a map in
            which the particle is dark, or of which no mass is given.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"there is no file {path} for the structure of {name}")
    if mass is not None and not 0 < mass < np.inf:
        raise DataError(f"the mass of {name} is {mass:g} kDa; give one above 0")
    kind = path.name.lower().removesuffix(".gz")
    if kind.endswith(MAPS):
        if mass is None:
            raise DataError(f"{path} is a map, which does not tell a mass; add it in kDa: {name}={path}:465")
        density, spacing = _of_map(path)
        nothing = "density above its noise"
    elif kind.endswith(ATOMIC):
        density, spacing = _of_atoms(path)
        nothing = "atoms but those of water"
    else:
        raise DataError(f"{path} is no structure that can be read; give {', '.join((*ATOMIC, *MAPS))}")
    if not density.any():
        raise DataError(f"{path} holds no {nothing}, so nothing of {name}")
    filled = tuple(slice(where.min(), where.max() + 1) for where in density.nonzero())
    scale = 1.0 if mass is None else mass / density.sum(dtype=np.float64)
    return Structure(name, np.asarray(density[filled] * scale, dtype=np.float32), spacing)


def parse_structure(text: str) -> Structure:
    """The structure that "ribosome=6qzp.cif" or, with its mass in kDa, "ribosome=6qzp.mrc:3200" say.

    Raises:
        DataError: the text is neither, or as `read_structure`.
    """
    name, _, rest = (part.strip() for part in text.partition("="))
    file, _, number = rest.rpartition(":")
    try:
        path, mass = (file, float(number)) if file else (rest, None)
    except ValueError:
        if Path(file).expanduser().is_file():
            raise DataError(f"the mass '{number}' of {name} is no number; give it in kDa: {name}={file}:465") from None
        path, mass = rest, None  # the colon belongs to the path
    if not (name and path):
        raise DataError(f"cannot understand the particle '{text}'; write NAME=FILE or, for a map, NAME=FILE:KDA")
    return read_structure(path, name, mass)


def _of_map(path: Path) -> tuple[NDArray[np.float32], float]:
    """A map without its noise, and its spacing."""
    with warnings.catch_warnings(), _unpacked(path) as plain:
        warnings.simplefilter("ignore", UserWarning)  # voxels of 1 A are nothing strange in a map
        tomogram = read_tomogram(plain)
        density = tomogram[:, :, :]
    if not np.isfinite(density).all():
        raise DataError(f"{path} holds values that are no numbers")
    inner = np.zeros(density.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    faces = density[~inner]
    density, noise = density - faces.mean(), float(_NOISE * faces.std())
    if (-noise - density).clip(0).sum() > (density - noise).clip(0).sum():
        raise DataError(f"the particle in {path} is darker than what surrounds it; give the map times -1")
    pieces, count = label(density > noise)
    masses = np.bincount(pieces.ravel(), density.ravel(), minlength=count + 1)
    masses[0] = 0.0  # what is not above the level
    kept = density * (masses > _PIECE * masses.max())[pieces]
    factor = max(1, int(_COARSE // tomogram.spacing))
    return _binned(kept, factor), factor * tomogram.spacing


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The map, or where it is gzipped, a copy that is not and is gone when the block ends; errors name the map."""
    if path.suffix.lower() != ".gz":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with reading(path), gzip.open(path) as packed, plain.open("wb") as copy:
            shutil.copyfileobj(packed, copy)
        try:
            yield plain
        except DataError as error:
            raise DataError(str(error).replace(str(plain), str(path))) from error


def _binned(density: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Sums over cubes of this edge in voxels."""
    filled = np.pad(density, [(0, -n % factor) for n in density.shape])
    split = filled.reshape([edge for n in filled.shape for edge in (n // factor, factor)])
    return np.asarray(split.sum(axis=(1, 3, 5)), dtype=np.float32)


def _of_atoms(path: Path) -> tuple[NDArray[np.float32], float]:
    """Masses of the atoms (kDa) in voxels of 2 A, of a very large particle in larger ones, zyx, and their spacing."""
    positions, masses = _atoms(path)
    if not len(masses):
        return np.zeros((1, 1, 1), np.float32), _FINE
    spacing = max(_FINE, float(np.ptp(positions, axis=0).max()) / _MOST)
    voxels = np.rint((positions - positions.min(axis=0)) / spacing).astype(int)
    density = np.zeros(voxels.max(axis=0) + 1)
    np.add.at(density, tuple(voxels.T), masses)
    return np.ascontiguousarray(density.T, dtype=np.float32), spacing


def _atoms(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (n, 3), xyz in Angstrom, and masses in kDa of all atoms that count."""
    import gemmi

    with reading(path):
        structure = gemmi.read_structure(str(path))
    if not len(structure):
        return np.zeros((0, 3)), np.zeros(0)
    structure.setup_entities()
    structure.remove_waters()
    model: Any = structure[0]
    if len(structure.assemblies):
        model = gemmi.make_assembly(structure.assemblies[0], model, gemmi.HowToNameCopiedChain.AddNumber)
    atoms = [site.atom for site in model.all()]
    positions = np.array([atom.pos.tolist() for atom in atoms]).reshape(-1, 3)
    return positions, np.array([atom.element.weight * atom.occ for atom in atoms]) / 1000
