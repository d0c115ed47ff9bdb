"""OME-Zarr metadata as programs write it: levels, units, nested groups."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from copick.util.ome import volume_pyramid, write_ome_zarr_3d

from tomopick.errors import DataError
from tomopick.io.omezarr import open_zarr_store
from tomopick.io.tomograms import read_tomogram

VOLUME = np.random.default_rng(0).normal(size=(8, 12, 16)).astype(np.float32)


def write_levels(
    path: Path,
    spacings: dict[str, float | list[float] | None],
    axes: Any = "zyx",
    unit: str | None = "angstrom",
    whole: list[float] | None = None,
    lead: tuple[int, ...] = (),
    ome: bool = False,
) -> Path:
    """A group in which level i holds the volume with every 2**i-th voxel, and says this spacing."""
    group = zarr.open_group(str(path), mode="w")
    entries: list[dict[str, Any]] = []
    for i, (name, spacing) in enumerate(spacings.items()):
        data = VOLUME[:: 2**i, :: 2**i, :: 2**i]
        group.create_dataset(name, data=data.reshape(*lead, *data.shape))
        entry: dict[str, Any] = {"path": name}
        if spacing is not None:
            scale = spacing if isinstance(spacing, list) else [spacing] * 3
            transform = {"type": "scale", "scale": [*([1.0] * len(lead)), *scale]}
            shift = {"type": "translation", "translation": [0.5] * (3 + len(lead))}
            entry["coordinateTransformations"] = [transform, shift]
        entries.append(entry)
    named = [{"name": a} | ({"unit": unit} if unit and a in "zyx" else {}) for a in axes] if axes else None
    multiscale: dict[str, Any] = {"datasets": entries} | ({"axes": named} if named else {})
    if whole:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": whole}]
    if ome:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    else:
        group.attrs["multiscales"] = [multiscale]
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wbp.zarr"


@pytest.mark.parametrize(("asked", "level"), [(None, 0), (10.0, 0), (10.012, 0), (20.0, 1), (40.0, 2), (39.0, 2)])
def test_the_level_is_chosen_by_spacing_in_what_copick_writes(path: Path, asked: float | None, level: int) -> None:
    write_ome_zarr_3d(zarr.DirectoryStore(str(path)), volume_pyramid(VOLUME, 10.0, 3))
    tomogram = read_tomogram(path, voxel_spacing=asked)
    assert tomogram.name == "wbp"
    assert tomogram.spacing == (asked or 10.0)
    expected = list(volume_pyramid(VOLUME, 10.0, 3).values())[level]
    np.testing.assert_array_equal(tomogram.read((0, 0, 0), expected.shape), expected)


def test_a_spacing_that_is_not_there_lists_those_that_are(path: Path) -> None:
    write_levels(path, {"0": 10.0, "1": 20.0})
    with pytest.raises(DataError, match=r"wbp\.zarr has no level of 13\.48 A; there are 10, 20 A"):
        read_tomogram(path, voxel_spacing=13.48)


def test_the_finest_level_need_not_be_the_first(path: Path) -> None:
    write_levels(path, {"coarse": 20.0, "fine": 10.0})
    assert read_tomogram(path).spacing == 10
    assert read_tomogram(path).shape == (4, 6, 8)


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("angstrom", 10.012), ("nanometer", 1.0012), ("micrometer", 0.0010012), ("picometer", 1001.2), (None, 10.012)],
)
def test_units_become_angstrom(path: Path, unit: str | None, scale: float) -> None:
    tomogram = read_tomogram(write_levels(path, {"0": scale}, unit=unit))
    assert tomogram.spacing == pytest.approx(10.012, rel=1e-12)


def test_an_unknown_unit_asks_for_the_spacing(path: Path) -> None:
    write_levels(path, {"0": 3.0}, unit="inch")
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_spacing=7.0).spacing == 7


def test_the_scale_of_the_group_counts_too(path: Path) -> None:
    assert read_tomogram(write_levels(path, {"0": 1.0, "1": 2.0}, whole=[10.0, 10.0, 10.0])).spacing == 10
    assert read_tomogram(path, voxel_spacing=20).shape == (4, 6, 8)


@pytest.mark.parametrize("ome", [False, True])
def test_axes_before_the_volume_are_left_out(path: Path, ome: bool) -> None:
    tomogram = read_tomogram(write_levels(path, {"s0": 10.0}, axes="tczyx", lead=(1, 1), ome=ome))
    assert tomogram.spacing == 10
    np.testing.assert_array_equal(tomogram.read((1, 2, 3), (8, 12, 16)), VOLUME[1:, 2:, 3:])


def test_metadata_without_axes_or_scales(path: Path) -> None:
    write_levels(path, {"0": None, "1": None}, axes=None)
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_tomogram(path)
    tomogram = read_tomogram(path, voxel_spacing=10)
    assert tomogram.shape == VOLUME.shape


def test_a_plain_array_needs_a_spacing(path: Path) -> None:
    zarr.save_array(str(path), VOLUME)
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_tomogram(path)
    np.testing.assert_array_equal(read_tomogram(path, voxel_spacing=10)[:, :, :], VOLUME)


def test_a_group_or_array_inside_is_named(path: Path) -> None:
    group = zarr.open_group(str(path), mode="w")
    group["a"], group["b"] = VOLUME, VOLUME + 1
    with pytest.raises(DataError, match="2 arrays; it holds a, b"):
        read_tomogram(path, voxel_spacing=10)
    np.testing.assert_array_equal(read_tomogram(path, voxel_spacing=10, dataset="b")[:, :, :], VOLUME + 1)
    with pytest.raises(DataError, match="no array or group 'c'; it holds a, b"):
        read_tomogram(path, voxel_spacing=10, dataset="c")
    write_levels(path / "series", {"0": 10.0})
    assert read_tomogram(path, dataset="series").spacing == 10


def test_a_store_such_as_copick_gives(path: Path) -> None:
    store: dict[str, bytes] = {}
    write_ome_zarr_3d(store, volume_pyramid(VOLUME, 10.0, 2))
    array, spacing = open_zarr_store(store, "run TS_1", 20.0)
    assert spacing == 20
    assert array.shape == (4, 6, 8)
    copy = pickle.loads(pickle.dumps(array))
    whole = (slice(None),) * 3
    np.testing.assert_array_equal(copy[whole], array[whole])
    with pytest.raises(DataError, match="run TS_1 has no level"):
        open_zarr_store(store, "run TS_1", 30.0)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"multiscales": [{"datasets": []}]}, "without any level"),
        ({"multiscales": [{"axes": [{"name": "z"}]}]}, "axes z;"),
        ({"multiscales": [{"axes": [{"name": n} for n in "xyz"], "datasets": []}]}, "axes x, y, z"),
        ({"multiscales": [{}]}, "cannot be understood"),
        ({"multiscales": [{"datasets": [{"path": "gone"}]}]}, "no array or group 'gone'"),
        ({"multiscales": {"datasets": []}}, "cannot be understood"),
        ({"multiscales": 3}, "cannot be understood"),
        ({}, "0 arrays; it holds nothing"),
    ],
    ids=str,
)
def test_bad_metadata_is_one_clear_line(path: Path, attributes: dict[str, Any], message: str) -> None:
    zarr.open_group(str(path), mode="w").attrs.update(attributes)
    with pytest.raises(DataError, match=message) as caught:
        read_tomogram(path, voxel_spacing=10)
    assert "wbp.zarr" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4)), "shape"),
        (np.zeros((2, 3, 4, 5)), "one 3D volume"),
        (np.zeros((2, 3, 4), "c8"), "complex64"),
        (np.zeros((2, 3, 4), "S3"), r"type \|S3"),
        (np.zeros((0, 3, 4)), "empty"),
    ],
)
def test_arrays_that_are_no_volume(path: Path, array: Any, message: str) -> None:
    zarr.save_array(str(path), array)
    with pytest.raises(DataError, match=message):
        read_tomogram(path, voxel_spacing=10)


def test_voxels_that_are_no_cubes_are_refused(path: Path) -> None:
    with pytest.raises(DataError, match="10 x 10 x 20 A"):
        read_tomogram(write_levels(path, {"0": [20.0, 10.0, 10.0]}))


def test_damaged_folders(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DataError, match="not zarr"):
        read_tomogram(path)
    (path / ".zgroup").write_text("{")
    with pytest.raises(DataError, match="cannot read"):
        read_tomogram(path)


def test_a_damaged_chunk_is_told_when_it_is_read(path: Path) -> None:
    write_levels(path, {"0": 10.0})
    (path / "0" / "0.0.0").write_bytes(b"rubbish")
    tomogram = read_tomogram(path)
    with pytest.raises(DataError, match=r"cannot read .*wbp\.zarr"):
        tomogram.read((0, 0, 0), (2, 2, 2))
