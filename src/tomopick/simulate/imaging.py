"""From a specimen to a tilt series: projections, contrast transfer, radiation damage, noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch_ctf import calculate_ctf_2d
from torch_fourier_slice import project_3d_to_2d

from tomopick.errors import DataError
from tomopick.geometry import voxel_from_angstrom
from tomopick.simulate.particles import render
from tomopick.simulate.specimen import Placed

__all__ = ["Scope", "TiltSeries", "observe", "project"]

Floats = NDArray[np.float64]
_VOLTAGE_KV = 300.0
_SPHERICAL_ABERRATION_MM = 2.7
_AMPLITUDE_CONTRAST = 0.1
_MEAN_FREE_PATH = 3000.0  # Angstrom between inelastic scattering events in vitreous ice at 300 kV, about.
_MARGIN = 24  # Pixels around the field of view, so that what Fourier filters wrap around stays outside.
_BATCH = 16  # Particles projected at a time.


@dataclass(frozen=True)
class Scope:
    """How a phantom is made and imaged.

    Attributes:
        spacing: voxel spacing in Angstrom.
        tilt_limit: the tilt goes from minus to plus this many degrees, about the y axis.
        tilt_step: degrees between images.
        defocus: least and greatest underfocus in micrometres; each run draws its own.
        dose: exposure of one image in electrons per square Angstrom (dose-symmetric, from 0 degrees outwards).
        b_factor: fall-off of all images with resolution, in square Angstrom.
        noise: standard deviation of an untilted image's noise, in kDa of protein per pixel.
        particles: annotated particles in a cubic micrometre, all kinds together (at least three of each are tried).
        crowders: unannotated small proteins in a cubic micrometre.
        beads: gold beads in the box.
        misalignment: standard deviation in Angstrom of each image's shift, along both of its axes, that the
            reconstruction does not know of.
        low_pass: frequency in cycles per pixel where the reconstruction's low-pass begins to fall.
        strangers: kinds of random proteins that join the crowders; each run draws its own.
        jitter: deviation in Angstrom of the particles' blobs from their places, and their sizes and masses vary with
            it; each run draws its own particles. At 0 all runs have the same.
    """

    spacing: float = 10.0
    tilt_limit: float = 60.0
    tilt_step: float = 3.0
    defocus: tuple[float, float] = (2.0, 4.0)
    dose: float = 3.0
    b_factor: float = 300.0
    noise: float = 2.0
    particles: float = 9000.0
    crowders: float = 30000.0
    beads: int = 2
    misalignment: float = 0.0
    low_pass: float = 0.35
    strangers: int = 0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not self.spacing > 0:
            raise DataError(f"a voxel spacing of {self.spacing} A; give one above 0")
        if not 0 <= self.tilt_limit < 90 or not self.tilt_step > 0:
            raise DataError(
                f"a tilt limit of {self.tilt_limit} and a step of {self.tilt_step} degrees; "
                "give a limit from 0 to below 90 and a step above 0"
            )
        if self.defocus[0] > self.defocus[1]:
            raise DataError(f"a defocus from {self.defocus[0]} to {self.defocus[1]}; give the smaller one first")
        amounts = ("dose", "b_factor", "noise", "particles", "crowders", "beads", "misalignment", "strangers", "jitter")
        negative = [name for name in (*amounts, "low_pass") if getattr(self, name) < 0]
        if negative:
            raise DataError(f"{', '.join(negative)} cannot be below 0; give 0 to leave it out")

    def angles(self) -> tuple[float, ...]:
        """Tilt angles in degrees, rising, 0 among them."""
        count = int(self.tilt_limit / self.tilt_step + 1e-9)
        return tuple(i * self.tilt_step for i in range(-count, count + 1))


@dataclass(frozen=True)
class TiltSeries:
    """The geometry that projection and reconstruction share.

    At tilt t the specimen turns about the y axis through the middle of the box, a right-handed turn that takes +z
    towards +x: what stands at (x, y, z) from the middle is seen at column ``x cos t + z sin t`` and row ``y``.

    Attributes:
        shape_zyx: the box in voxels.
        spacing: of voxels and of pixels, in Angstrom.
        angles: tilts in degrees.
    """

    shape_zyx: tuple[int, int, int]
    spacing: float
    angles: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows (y) and columns of an image, wide enough to see the whole box at each tilt, with a margin."""
        depth, height, width = self.shape_zyx
        return height + 2 * _MARGIN, int(np.ceil(np.hypot(depth, width))) + 2 * _MARGIN

    @property
    def first_row(self) -> int:
        """The image row of the box's first voxel along y."""
        return _MARGIN

    def columns(self, z: ArrayLike, x: ArrayLike, angle: float) -> Floats:
        """Fractional image columns of voxels (indices z and x, which broadcast) at one tilt in degrees."""
        depth, _, width = self.shape_zyx
        turn = np.deg2rad(angle)
        across = (np.asarray(x, dtype=np.float64) - (width - 1) / 2) * np.cos(turn)
        along = (np.asarray(z, dtype=np.float64) - (depth - 1) / 2) * np.sin(turn)
        columns: Floats = across + along + (self.image_shape[1] - 1) / 2
        return columns

    def view_matrices(self) -> Floats:
        """(tilts, 3, 3) matrices that turn xyz of the specimen into xyz of the microscope (the beam runs along z)."""
        turn = np.deg2rad(self.angles)
        matrices = np.zeros((len(turn), 3, 3))
        matrices[:, 0, 0] = matrices[:, 2, 2] = np.cos(turn)
        matrices[:, 0, 2], matrices[:, 2, 0] = np.sin(turn), -np.sin(turn)
        matrices[:, 1, 1] = 1
        return matrices


def project(specimen: list[Placed], series: TiltSeries) -> torch.Tensor:
    """Projected mass of the specimen, (tilts, rows, columns) in kDa per pixel.

    Each particle is projected on its own: a Fourier slice needs a cube with nothing at its faces, which a particle in
    its box is and a specimen slab is not.
    """
    images = torch.zeros(len(series.angles), *series.image_shape)
    with _one_thread():
        for placed in specimen:
            _add_copies(images, placed, series)
    return images


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small steps, which gain nothing from threads and whose rounding would tell how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _add_copies(images: torch.Tensor, placed: Placed, series: TiltSeries) -> None:
    """Add the projections of all copies of one model."""
    volume = torch.from_numpy(render(placed.model, series.spacing))
    zyx = voxel_from_angstrom(placed.xyz, series.spacing)
    # A slice's matrix turns image coordinates into the model's: the inverse of model -> specimen -> microscope.
    matrices = series.view_matrices()[None] @ placed.rotation.as_matrix()[:, None]
    inverse = torch.from_numpy(np.ascontiguousarray(matrices.swapaxes(-1, -2))).float()
    for i in range(0, len(zyx), _BATCH):
        patches = project_3d_to_2d(volume, inverse[i : i + _BATCH])
        _add_patches(images, patches, zyx[i : i + _BATCH], series)


def _add_patches(images: torch.Tensor, patches: torch.Tensor, zyx: Floats, series: TiltSeries) -> None:
    """Add patches (particles, tilts, d, d), whose middle is pixel d // 2, where the particles are seen."""
    rows = np.repeat(zyx[:, 1:2] + series.first_row, len(series.angles), axis=1)
    columns = np.stack([series.columns(zyx[:, 0], zyx[:, 2], a) for a in series.angles], axis=1)
    where = np.stack([rows, columns], axis=-1)
    whole = np.rint(where).astype(int)
    patches = _shifted(patches, where - whole)
    size = patches.shape[-1]
    limit = np.array(series.image_shape)
    for i, t in np.ndindex(*whole.shape[:2]):
        start = whole[i, t] - size // 2
        low, high = np.maximum(start, 0), np.minimum(start + size, limit)
        if (low >= high).any():
            continue
        (a, b), (c, d), (r, s) = low, high, start
        images[t, a:c, b:d] += patches[i, t, a - r : c - r, b - s : d - s]


def _shifted(patches: torch.Tensor, shift: Floats) -> torch.Tensor:
    """Patches (..., d, d) moved by fractions of a pixel (..., 2), row and column, with a phase ramp."""
    size = patches.shape[-1]
    spectrum = torch.fft.rfft2(patches) * _ramp((size, size), shift)
    moved: torch.Tensor = torch.fft.irfft2(spectrum, s=(size, size))
    return moved


def _ramp(shape: tuple[int, int], shift: Floats) -> torch.Tensor:
    """What the Fourier transform of images of this shape is multiplied by to move them by (..., 2) pixels."""
    row, column = torch.from_numpy(shift).float()[..., None, None].unbind(dim=-3)
    phase = row * torch.fft.fftfreq(shape[0])[:, None] + column * torch.fft.rfftfreq(shape[1])
    return torch.exp(-2j * torch.pi * phase)


def observe(images: torch.Tensor, series: TiltSeries, scope: Scope, rng: np.random.Generator) -> torch.Tensor:
    """What the microscope makes of projections (tilts, rows, columns): damaged, transferred and noisy; protein dark.

    Where the scope has a misalignment, each image is moved by a shift that nobody tells the reconstruction.
    """
    shape = series.image_shape
    contrast = calculate_ctf_2d(
        defocus=float(rng.uniform(*scope.defocus)),
        astigmatism=0.0,
        astigmatism_angle=0.0,
        voltage=_VOLTAGE_KV,
        spherical_aberration=_SPHERICAL_ABERRATION_MM,
        amplitude_contrast=_AMPLITUDE_CONTRAST,
        phase_shift=0.0,
        pixel_size=series.spacing,
        image_shape=shape,
        rfft=True,
        fftshift=False,
    )
    shifts = _shifts(series, scope.misalignment, rng)
    seen = torch.empty_like(images)
    for t, dose in enumerate(_mean_doses(series.angles, scope.dose)):
        transfer = contrast * _envelope(shape, series.spacing, scope.b_factor, dose)
        if shifts is not None:
            transfer = transfer * _ramp(shape, shifts[t])
        seen[t] = torch.fft.irfft2(torch.fft.rfft2(-images[t]) * transfer, s=shape)
    noise = rng.standard_normal(seen.shape, dtype=np.float32) * _noise_levels(series, scope.noise)[:, None, None]
    return seen + torch.from_numpy(noise)


def _shifts(series: TiltSeries, misalignment: float, rng: np.random.Generator) -> Floats | None:
    """Row and column shift of each image in pixels, (tilts, 2); None, and nothing drawn, for perfect alignment."""
    if misalignment == 0:
        return None
    return rng.normal(scale=misalignment / series.spacing, size=(len(series.angles), 2))


def _mean_doses(angles: tuple[float, ...], dose: float) -> Floats:
    """Electrons per square Angstrom that the specimen has had halfway through each image."""
    order = np.argsort(np.argsort(np.abs(angles), kind="stable"), kind="stable")
    return np.asarray(dose * (order + 0.5), dtype=np.float64)


def _envelope(shape: tuple[int, int], spacing: float, b_factor: float, dose: float) -> torch.Tensor:
    """Amplitude left at each frequency: B-factor and damage by dose (Grant and Grigorieff 2015, eLife 4:e06980)."""
    frequency = torch.hypot(
        torch.fft.fftfreq(shape[0], spacing)[:, None], torch.fft.rfftfreq(shape[1], spacing)
    ).clamp_min(1e-6)
    critical = 0.24499 * frequency**-1.6649 + 2.8141
    return torch.exp(-b_factor / 4 * frequency**2 - dose / (2 * critical))


def _noise_levels(series: TiltSeries, noise: float) -> NDArray[np.float32]:
    """Shot noise of each tilt: fewer electrons come through the ice's 1 / cos(tilt) longer path unscattered."""
    thickness = series.shape_zyx[0] * series.spacing
    longer = 1 / np.cos(np.deg2rad(series.angles)) - 1
    return (noise * np.exp(thickness * longer / (2 * _MEAN_FREE_PATH))).astype(np.float32)
