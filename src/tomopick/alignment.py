"""A quick rotational alignment of subtomograms onto the mean that they make themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from tomopick.subtomograms import Volume

__all__ = ["align", "even_rotations"]

SMALL = 25  # voxels along an edge at which orientations are compared
ROUNDS = (576, 576, 576, 4608)  # orientations tried in each round: some 30, then 15 degrees apart
TILT = 60.0  # degrees to which specimens are mostly tilted, about y
LEAST = 0.05  # share of the subtomograms that must have seen a frequency for it to be evened out
BATCH = 288
AXES = (-3, -2, -1)
Matrices = NDArray[np.float64]


def even_rotations(count: int) -> Matrices:
    """This many rotations (n, 3, 3), spread evenly: the super-Fibonacci spiral (Alexa, CVPR 2022)."""
    steps = np.arange(count) + 0.5
    inner, outer = np.sqrt(steps / count), np.sqrt(1 - steps / count)
    one, other = 2 * np.pi * steps / np.sqrt(2), 2 * np.pi * steps / 1.533751168755204288118041
    quaternions = [inner * np.sin(one), inner * np.cos(one), outer * np.sin(other), outer * np.cos(other)]
    return np.asarray(Rotation.from_quat(np.stack(quaternions, axis=1)).as_matrix())


def align(boxes: Sequence[Volume], progress: Callable[[float], None] | None = None) -> tuple[Matrices, Volume]:
    """Turn subtomograms onto a common mean, starting from the first one; they are not moved.

    Each round takes, for each subtomogram, the orientation in which the mean, less what no tilt shows, correlates best
    with it; the next mean divides each frequency by how many subtomograms show it in their new orientation.

    Args:
        boxes: zyx, all of one even edge, the particle at voxel ``edge // 2``; the clearest one first.
        progress: called with the share that is done.

    Returns:
        The orientations (n, 3, 3), which take the mean's coordinates (columns xyz) to the subtomogram's, and the mean,
        of the boxes' size, at the handedness and in the orientation of the first.
    """
    # a box of odd edge has its middle at a voxel
    whole = torch.from_numpy(np.stack([box[1:, 1:, 1:] for box in boxes]))[:, None]
    edge = whole.shape[-1]
    size = min(SMALL, edge)
    small = _masked(_shrunk(whole, size))
    reference = small[:1]
    for number, count in enumerate(ROUNDS, start=1):
        tried = even_rotations(count)
        turns = tried[_best(small, reference, tried)]
        reference = _masked(_mean(small, turns))
        if progress is not None:
            progress(number / (len(ROUNDS) + 1))
    mean = np.zeros((edge + 1,) * 3, dtype=np.float32)
    mean[1:, 1:, 1:] = _mean(whole, turns)[0, 0].numpy()
    return turns, mean


def _shrunk(boxes: Tensor, size: int) -> Tensor:
    """The boxes at fewer voxels, middle on middle."""
    blur = 0.5 * boxes.shape[-1] / size
    smooth = torch.from_numpy(gaussian_filter(boxes.numpy(), (0, 0, blur, blur, blur)))
    shrunk: Tensor = functional.interpolate(smooth, (size,) * 3, mode="trilinear", align_corners=True)
    return shrunk


def _masked(boxes: Tensor) -> Tensor:
    """Within a ball that all orientations have in common, less the mean there, of norm 1."""
    steps = torch.linspace(-1, 1, boxes.shape[-1])
    inside = (steps[:, None, None] ** 2 + steps[:, None] ** 2 + steps**2) <= 1
    middle = boxes[..., inside].mean(dim=-1)[..., None, None, None]
    cut = (boxes - middle) * inside
    masked: Tensor = cut / cut.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None, None]
    return masked


def _turned(boxes: Tensor, turns: Matrices) -> Tensor:
    """Box i as seen where voxel v shows what is at ``turns[i] @ v`` (xyz, from the middle)."""
    affine = functional.pad(torch.from_numpy(turns).float(), (0, 1))
    grid = functional.affine_grid(affine, [len(turns), 1, *boxes.shape[2:]], align_corners=True)
    turned: Tensor = functional.grid_sample(boxes.expand(len(turns), -1, -1, -1, -1), grid, align_corners=True)
    return turned


def _seen(size: int) -> Tensor:
    """Which frequencies, the middle one 0, a tilt about y shows."""
    steps = torch.arange(size) - size // 2
    plane: Tensor = steps[:, None, None].abs() <= np.tan(np.radians(TILT)) * steps.abs()
    return plane.expand(size, size, size).float()


def _transformed(boxes: Tensor) -> Tensor:
    spectra: Tensor = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(boxes, AXES), dim=AXES), AXES)
    return spectra


def _restored(spectra: Tensor) -> Tensor:
    boxes: Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(spectra, AXES), dim=AXES), AXES).real
    return boxes


def _best(boxes: Tensor, reference: Tensor, tried: Matrices) -> NDArray[np.int64]:
    """For each box, the orientation of the reference that correlates best with it."""
    flat = boxes.flatten(1)
    size = boxes.shape[-1]
    # a mask of amplitudes asks nothing of phases: half the frequencies will do, with the first voxel as their origin
    half = torch.fft.ifftshift(_seen(size))[..., : size // 2 + 1]
    scores = []
    for first in range(0, len(tried), BATCH):
        # the transpose: in orientation R, voxel v shows what the reference has at R^-1 v
        looks = _turned(reference, tried[first : first + BATCH].transpose(0, 2, 1))
        spectra = torch.fft.rfftn(looks, dim=AXES) * half
        looks = _masked(torch.fft.irfftn(spectra, s=(size,) * 3, dim=AXES))
        scores.append(flat @ looks.flatten(1).T)
    return torch.cat(scores, dim=1).argmax(dim=1).numpy()


def _mean(boxes: Tensor, turns: Matrices) -> Tensor:
    """The mean (1, 1, e, e, e) of the boxes turned back, each frequency over those that saw it."""
    size = boxes.shape[-1]
    seen = _seen(size)[None, None]
    total = torch.zeros((1, 1, size, size, size), dtype=torch.complex64)
    often = torch.zeros((1, 1, size, size, size))
    for box, turn in zip(boxes, turns, strict=True):
        total += _transformed(_turned(box[None], turn[None]))
        often += _turned(seen, turn[None])
    return _restored(total / often.clamp_min(LEAST * len(boxes)))
