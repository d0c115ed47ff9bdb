"""HDF5 files: which dataset, and its voxel spacing."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.tomograms import read_tomogram

VOLUME = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)


def write(path: Path, on_file: dict[str, Any] | None = None, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["raw"] = VOLUME
        file["raw"].attrs.update(attributes)
        file.attrs.update(on_file or {})
        file["angles"] = np.zeros(60)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ts.h5"


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"voxel_spacing": 10.012}, 10.012),
        ({"pixel_size": np.float64(13.48)}, 13.48),
        ({"pixel_size": [7.84, 7.84, 7.84]}, 7.84),
        ({"element_size_um": [0.001, 0.001, 0.001]}, 10.0),
        ({"voxel_spacing": 10.0, "pixel_size": 20.0, "on_file": {"voxel_spacing": 30.0}}, 10.0),
        ({"on_file": {"voxel_spacing": 30.0}}, 30.0),
    ],
    ids=str,
)
def test_the_spacing_is_found_in_an_attribute(path: Path, attributes: dict[str, Any], spacing: float) -> None:
    assert read_tomogram(write(path, **attributes)).spacing == pytest.approx(spacing, rel=1e-12)


@pytest.mark.parametrize("attributes", [{}, {"pixel_size": 0.0}, {"voxel_spacing": "ten"}, {"pixel_size": [1.0, 2.0]}])
def test_without_a_spacing_it_asks_for_one(path: Path, attributes: dict[str, Any]) -> None:
    write(path, **attributes)
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_spacing=10).spacing == 10


def test_voxels_that_are_no_cubes_are_refused(path: Path) -> None:
    with pytest.raises(DataError, match="10 x 10 x 20 A"):
        read_tomogram(write(path, pixel_size=[20.0, 10.0, 10.0]))


def test_one_of_several_datasets_is_named(path: Path) -> None:
    write(path, voxel_spacing=10.0)
    with h5py.File(path, "a") as file:
        file["group/other"] = VOLUME + 1
    with pytest.raises(DataError, match=r"several 3D datasets: group/other \(4, 5, 6\), raw \(4, 5, 6\)"):
        read_tomogram(path)
    assert read_tomogram(path, dataset="raw").spacing == 10
    other = read_tomogram(path, voxel_spacing=10, dataset="/group/other")
    np.testing.assert_array_equal(other[:, :, :], VOLUME + 1)
    with pytest.raises(DataError, match=r"no 3D dataset 'angles'; it holds group/other"):
        read_tomogram(path, dataset="angles")


def test_a_file_without_volume(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((4, 5))
    with pytest.raises(DataError, match=r"ts\.h5 holds no 3D dataset"):
        read_tomogram(path)


def test_complex_values_are_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["raw"] = VOLUME.astype(np.complex64)
    with pytest.raises(DataError, match="complex64"):
        read_tomogram(path, voxel_spacing=10)


@pytest.mark.parametrize("kept", [100, 2000])
def test_a_truncated_file_is_one_clear_line(path: Path, kept: int) -> None:
    write(path, voxel_spacing=10.0)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cannot read .*ts\.h5") as caught:
        read_tomogram(path)
    assert "\n" not in str(caught.value)


def test_another_file_with_this_ending(path: Path) -> None:
    path.write_text("hello")
    with pytest.raises(DataError, match=r"cannot read .*ts\.h5"):
        read_tomogram(path)
