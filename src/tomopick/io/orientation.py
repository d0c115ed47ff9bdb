"""Euler angles as RELION and Dynamo write them, and the rotation matrices that copick keeps."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tomopick.errors import DataError

__all__ = ["dynamo_from_euler", "euler_from_dynamo", "euler_from_rotation", "rotation_from_euler"]

Floats = NDArray[np.float64]
Axes = Literal["ZYZ", "zxz"]


def rotation_from_euler(euler: ArrayLike) -> Floats:
    """Rotations (n, 3, 3) that take particle to tomogram coordinates (columns xyz), of angles (n, 3) in degrees.

    The angles are RELION's rot, tilt, psi: intrinsic rotations about z, the new y and the new z, which turn the
    *tomogram* onto the particle. RELION's own matrix (its manual, "Conventions") is therefore the inverse, and that is
    what copick keeps as a point's transformation: (0, 90, 0) takes the particle's z to the tomogram's -x.
    """
    from scipy.spatial.transform import Rotation

    angles = np.asarray(euler, dtype=np.float64).reshape(-1, 3)
    if not len(angles):
        return np.zeros((0, 3, 3))
    return np.asarray(Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix())


def euler_from_rotation(rotation: ArrayLike) -> Floats:
    """Angles (n, 3) rot, tilt, psi in degrees of rotations (n, 3, 3); the inverse of `rotation_from_euler`.

    Where tilt is 0 or 180, only the sum or difference of rot and psi is defined, and psi is 0.

    Raises:
        DataError: a matrix is not a rotation (it mirrors, or is not finite).
    """
    from scipy.spatial.transform import Rotation

    matrices = np.asarray(rotation, dtype=np.float64).reshape(-1, 3, 3)
    if not len(matrices):
        return np.zeros((0, 3))
    if not np.isfinite(matrices).all() or (np.linalg.det(matrices) <= 0).any():
        raise DataError("a particle's transformation is not a rotation; mirrored particles cannot be read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy warns where tilt is 0 or 180; said above
        return np.asarray(Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True))


def dynamo_from_euler(euler: ArrayLike) -> Floats:
    """Dynamo's tdrot, tilt, narot (n, 3) in degrees of RELION's angles (n, 3).

    They turn the tomogram onto the particle by tdrot about z, tilt about x and narot about z, about axes that stay.
    Where tilt is 0 or 180, narot is 0.
    """
    return _restated(euler, "ZYZ", "zxz")


def euler_from_dynamo(angles: ArrayLike) -> Floats:
    """The inverse of `dynamo_from_euler`."""
    return _restated(angles, "zxz", "ZYZ")


def _restated(angles: ArrayLike, given: Axes, wanted: Axes) -> Floats:
    """Angles (n, 3) in degrees of the same rotations about other axes, named as SciPy does."""
    from scipy.spatial.transform import Rotation

    rows = np.asarray(angles, dtype=np.float64).reshape(-1, 3)
    if not len(rows):
        return rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # as in `euler_from_rotation`
        return np.asarray(Rotation.from_euler(given, rows, degrees=True).as_euler(wanted, degrees=True))
