import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.errors import DataError
from tomopick.io.orientation import euler_from_rotation, rotation_from_euler


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """The matrix of RELION's Euler_angles2matrix, multiplied out: z by rot, then y by tilt, then z by psi."""
    (ca, cb, cg), (sa, sb, sg) = np.cos(np.radians([rot, tilt, psi])), np.sin(np.radians([rot, tilt, psi]))
    about_z = np.array([[ca, sa, 0], [-sa, ca, 0], [0, 0, 1]])
    about_y = np.array([[cb, 0, -sb], [0, 1, 0], [sb, 0, cb]])
    return np.array([[cg, sg, 0], [-sg, cg, 0], [0, 0, 1]]) @ about_y @ about_z


angle = st.floats(-180, 180)


@settings(max_examples=50, deadline=None)
@given(rot=angle, tilt=st.floats(0, 180), psi=angle)
def test_the_matrix_is_relions(rot, tilt, psi):
    np.testing.assert_allclose(rotation_from_euler([rot, tilt, psi])[0], relion_matrix(rot, tilt, psi), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(rot=angle, tilt=st.floats(-180, 180), psi=angle)
def test_angles_of_a_rotation_give_it_back(rot, tilt, psi):
    rotation = rotation_from_euler([rot, tilt, psi])
    np.testing.assert_allclose(rotation_from_euler(euler_from_rotation(rotation)), rotation, atol=1e-6)


def test_known_answers():
    np.testing.assert_allclose(rotation_from_euler([0, 90, 0])[0] @ [0, 0, 1], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_from_euler([90, 0, 0])[0] @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(euler_from_rotation(relion_matrix(30, 60, -45)), [[30, 60, -45]], atol=1e-9)
    np.testing.assert_allclose(euler_from_rotation(np.eye(3)), [[0, 0, 0]], atol=1e-9)


def test_a_mirror_is_not_a_rotation():
    with pytest.raises(DataError, match="not a rotation"):
        euler_from_rotation(np.diag([1.0, 1.0, -1.0]))
