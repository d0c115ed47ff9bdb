"""Density is where the truth says: projection and reconstruction, without noise or contrast transfer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter
from scipy.spatial.transform import Rotation

from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom
from tomopick.picks import Picks
from tomopick.simulate.imaging import TiltSeries, project
from tomopick.simulate.particles import BlobModel, particle_model
from tomopick.simulate.reconstruction import reconstruct
from tomopick.simulate.specimen import Placed

WEDGE = tuple(np.arange(-60.0, 61.0, 3.0))
ALL_AROUND = tuple(np.arange(-88.5, 90.0, 3.0))


def one(model: BlobModel, xyz: np.ndarray, rotation: Rotation | None = None) -> Placed:
    turn = rotation or Rotation.identity()
    return Placed(model, np.reshape(xyz, (1, 3)), Rotation.from_quat(turn.as_quat().reshape(1, 4)))


def blob(sigma: float) -> BlobModel:
    return BlobModel(np.zeros((1, 3)), sigma, 100.0, 3 * sigma)


def found(volume: np.ndarray, near: np.ndarray, reach: int) -> np.ndarray:
    """Centre of the bright density, zyx, in a cube around a place."""
    start = np.rint(near).astype(int) - reach
    assert (start >= 0).all()
    part = volume[tuple(slice(s, s + 2 * reach + 1) for s in start)]
    return np.array(center_of_mass(np.clip(part - 0.3 * part.max(), 0, None))) + start


def painted(model: BlobModel, xyz: np.ndarray, turn: np.ndarray, shape: tuple[int, ...], spacing: float) -> np.ndarray:
    """The density of a model at xyz, turned by a matrix, voxel by voxel."""
    density = np.zeros(shape)
    for centre in model.centres:
        at = voxel_from_angstrom(xyz + turn @ centre, spacing)
        profiles = [
            np.exp(-(((np.arange(n) - c) * spacing) ** 2) / (2 * model.sigma**2))
            for n, c in zip(shape, at, strict=True)
        ]
        density += np.einsum("z,y,x->zyx", *profiles)
    return density


@pytest.mark.parametrize("shape", [(48, 64, 72), (47, 63, 71), (48, 63, 70), (31, 80, 57)])
@pytest.mark.parametrize("place", [(0.35, 0.3, 0.27), (0.62, 0.66, 0.71), (0.6, 0.4, 0.3)])
@pytest.mark.parametrize("spacing", [10.0, 10.012])
def test_particle_comes_back_at_its_true_position(
    shape: tuple[int, int, int], place: tuple[float, float, float], spacing: float
) -> None:
    """Off the middle in x, y and z at once: a tilt of the wrong sense would throw it many voxels away."""
    zyx = np.array(shape) * place + (0.21, -0.37, 0.43)
    series = TiltSeries(shape, spacing, WEDGE)
    volume = reconstruct(project([one(blob(12.0), angstrom_from_voxel(zyx, spacing))], series), series)
    assert np.unravel_index(volume.argmax(), shape) == tuple(np.rint(zyx).astype(int))
    assert np.abs(found(volume, zyx, 6) - zyx).max() < 0.1


@pytest.mark.parametrize("name", ["ribosome", "virus-like-particle", "apo-ferritin", "thyroglobulin"])
def test_real_particle_comes_back_at_its_true_position(name: str) -> None:
    shape, spacing = (64, 63, 66), 10.0
    near = np.array([30.3, 34.6, 29.8])
    xyz = angstrom_from_voxel(near, spacing)
    turn = Rotation.from_euler("xyz", [25, 70, -130], degrees=True)
    series = TiltSeries(shape, spacing, ALL_AROUND)
    volume = reconstruct(project([one(particle_model(name), xyz, turn)], series), series)
    truth = painted(particle_model(name), xyz, turn.as_matrix(), shape, spacing)
    # Compared with blobs painted where they belong: a threshold moves the centre of a lopsided particle in both.
    centres = [found(gaussian_filter(v, 3), near, 22) for v in (volume, truth)]
    assert np.abs(centres[0] - centres[1]).max() < 0.1


@pytest.mark.parametrize("angle", [-60.0, -24.0, 0.0, 33.0])
def test_projection_of_a_blob_is_the_gaussian_of_theory(angle: float) -> None:
    shape, spacing, sigma = (40, 50, 61), 8.0, 16.0
    xyz = np.array([301.0, 170.0, 103.0])
    series = TiltSeries(shape, spacing, (angle,))
    image = project([one(blob(sigma), xyz)], series)[0].numpy()
    middle = (np.array(shape[::-1]) - 1) / 2 * spacing
    x, y, z = xyz - middle
    turn = np.deg2rad(angle)
    rows, columns = (np.arange(n) * spacing for n in image.shape)
    # Rows count from the box's first voxel, columns from the middle of the image.
    dy = rows[:, None] - series.first_row * spacing - (y + middle[1])
    dx = columns - columns.mean() - (x * np.cos(turn) + z * np.sin(turn))
    expected = 100.0 * spacing**2 / (2 * np.pi * sigma**2) * np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    assert np.abs(image - expected).max() < 0.02 * expected.max()


def test_full_tilt_range_gives_back_the_rotated_particle() -> None:
    """An unsymmetric particle, turned: its density is that of blobs moved by the rotation and by the picks' angles."""
    shape, spacing = (40, 42, 44), 10.0
    centres = np.array([[60.0, 0, 0], [0, 40, 0], [0, 0, 25], [-60, -40, -25]])
    model = BlobModel(centres, 14.0, 100.0, 100.0)
    xyz, turn = np.array([231.0, 188.0, 203.0]), Rotation.from_euler("xyz", [40, -65, 110], degrees=True)
    placed = one(model, xyz, turn)
    series = TiltSeries(shape, spacing, ALL_AROUND)
    volume = reconstruct(project([placed], series), series)
    # RELION: A = Rz(psi) Ry(tilt) Rz(rot), each turning the coordinate system, takes the reference to the particle.
    rot, tilt, psi = np.deg2rad(Picks.of("run", "x", xyz, euler=placed.euler()).euler()[0])
    relion = passive("z", psi) @ passive("y", tilt) @ passive("z", rot)
    expected = painted(model, xyz, relion, shape, spacing)
    assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.97


def passive(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]] if axis == "z" else [[c, 0, -s], [0, 1, 0], [s, 0, c]])


def test_particle_at_the_border_is_cut_not_moved_or_lost() -> None:
    shape, spacing = (32, 40, 48), 10.0
    series = TiltSeries(shape, spacing, WEDGE)
    volume = reconstruct(project([one(blob(12.0), np.array([0.0, 0.0, 310.0]))], series), series)
    assert np.unravel_index(volume.argmax(), shape) == (31, 0, 0)
