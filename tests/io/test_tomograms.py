"""What holds for a tomogram of every format: the same tests run against each."""

import multiprocessing
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.io.tomograms import read_tomogram, tomogram_files, write_mrc
from tomopick.tomogram import Tomogram

SPACING = 10.012
SHAPE = (7, 9, 11)
Volume = NDArray[np.float32]


def make_mrc(folder: Path, volume: Volume, dtype: str = "<f4", extended: int = 0) -> Path:
    path = folder / "ts_1.mrc"
    with mrcfile.new(path) as file:
        file.set_data(volume.astype(dtype))
        if extended:
            file.set_extended_header(np.arange(extended, dtype=np.uint8).view("V1"))
        file.voxel_size = SPACING
    return path


def make_ome(folder: Path, volume: Volume, unit: str | None = "angstrom", factor: float = 1.0) -> Path:
    group = zarr.open_group(str(folder / "ts_1.ome.zarr"), mode="w")
    axes = [{"name": n, "type": "space"} | ({"unit": unit} if unit else {}) for n in "zyx"]
    datasets = []
    for level in range(2):
        group.create_dataset(str(level), data=volume[:: 2**level, :: 2**level, :: 2**level], chunks=(4, 4, 5))
        scale = {"type": "scale", "scale": [SPACING * factor * 2**level] * 3}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder / "ts_1.ome.zarr"


def make_hdf5(folder: Path, volume: Volume, dtype: str = "<f4") -> Path:
    with h5py.File(folder / "ts_1.h5", "w") as file:
        data = file.create_dataset("volumes/raw", data=volume.astype(dtype), chunks=True, compression="gzip")
        data.attrs["voxel_spacing"] = SPACING
    return folder / "ts_1.h5"


BACKENDS: dict[str, Callable[[Path, Volume], Path]] = {
    "mrc": make_mrc,
    "mrc int16": lambda folder, volume: make_mrc(folder, volume, "<i2"),
    "mrc uint16": lambda folder, volume: make_mrc(folder, volume, "<u2"),
    "mrc int8": lambda folder, volume: make_mrc(folder, volume, "i1"),
    "mrc float16": lambda folder, volume: make_mrc(folder, volume, "<f2"),
    "mrc big-endian": lambda folder, volume: make_mrc(folder, volume, ">f4"),
    "mrc big-endian int16": lambda folder, volume: make_mrc(folder, volume, ">i2"),
    "mrc extended header": lambda folder, volume: make_mrc(folder, volume, ">i2", 768),
    "ome-zarr": make_ome,
    "hdf5": make_hdf5,
    "hdf5 int16": lambda folder, volume: make_hdf5(folder, volume, ">i2"),
}


def whole_numbers(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Volume:
    """A volume that every type here holds exactly."""
    return np.random.default_rng(seed).integers(0, 128, shape).astype(np.float32)


@pytest.fixture(params=BACKENDS, ids=lambda name: name.replace(" ", "-"))
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return BACKENDS[request.param](tmp_path, whole_numbers())


def test_name_spacing_and_densities(stored: Path) -> None:
    tomogram = read_tomogram(stored)
    assert tomogram.name == "ts_1"
    assert tomogram.spacing == pytest.approx(SPACING, abs=1e-9)
    assert tomogram.shape == SHAPE
    part = tomogram.read((0, 0, 0), SHAPE)
    assert part.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(part, whole_numbers())


def test_every_region_is_that_of_the_array(stored: Path) -> None:
    tomogram, volume = read_tomogram(stored), whole_numbers()
    bound = st.one_of(st.none(), st.integers(-13, 13))
    axis = st.builds(slice, bound, bound)

    @settings(max_examples=60, deadline=None)
    @given(st.tuples(axis, axis, axis))
    def check(region: tuple[slice, slice, slice]) -> None:
        part = tomogram[region]
        assert part.dtype == np.dtype(np.float32)
        np.testing.assert_array_equal(part, volume[region])

    check()


def test_beyond_the_border_it_is_mirrored(stored: Path) -> None:
    tomogram, volume = read_tomogram(stored), whole_numbers()
    mirrored = np.pad(volume, ((5, 4), (3, 12), (11, 2)), mode="reflect")
    np.testing.assert_array_equal(tomogram.read((-5, -3, -11), (11, 21, 13)), mirrored)
    np.testing.assert_array_equal(tomogram.read((-5, 2, 9), (1, 6, 13)), mirrored[:6, 5:9, 20:24])


def test_a_given_spacing_overrides_that_of_the_file(stored: Path) -> None:
    tomogram = read_tomogram(str(stored), voxel_spacing=10.0)
    assert tomogram.spacing == 10.0
    assert tomogram.shape == SHAPE


@pytest.mark.parametrize("spacing", [0.0, -10.0, float("nan"), float("inf")])
def test_a_given_spacing_must_be_above_zero(stored: Path, spacing: float) -> None:
    with pytest.raises(DataError, match=r"above 0|no level"):
        read_tomogram(stored, voxel_spacing=spacing)


def read_corner(tomogram: Tomogram) -> Volume:
    return tomogram.read((-2, 0, 4), (3, 3, 12))


def test_it_is_read_in_worker_processes(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stored.parent)
    tomogram = read_tomogram(stored.name)
    expected = read_corner(tomogram)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(read_corner(pickle.loads(pickle.dumps(tomogram))), expected)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for part in pool.map(read_corner, [tomogram] * 6, chunksize=1):
            np.testing.assert_array_equal(part, expected)


def test_steps_are_refused(stored: Path) -> None:
    with pytest.raises(IndexError, match="without steps"):
        read_tomogram(stored).array[::2, :, :]


@pytest.mark.parametrize("make", [make_mrc, make_ome, make_hdf5])
def test_values_that_are_not_finite_are_refused_when_read(tmp_path: Path, make: Callable[[Path, Volume], Path]) -> None:
    volume = whole_numbers()
    volume[3, 4, 5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = make(tmp_path, volume)
    tomogram = read_tomogram(path)
    tomogram.read((0, 0, 0), (3, 9, 11))
    with pytest.raises(DataError, match=r"ts_1.*NaN"):
        tomogram.read((0, 0, 0), SHAPE)


@pytest.mark.parametrize("make", [make_mrc, make_ome, make_hdf5])
def test_a_2d_image_is_refused(tmp_path: Path, make: Callable[[Path, Volume], Path]) -> None:
    path = make(tmp_path, whole_numbers((1, 9, 11)))
    with pytest.raises(DataError, match="2D image of 9 x 11"):
        read_tomogram(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("make", [make_mrc, make_ome, make_hdf5])
def test_resident_memory_stays_that_of_a_region(tmp_path: Path, make: Callable[[Path, Volume], Path]) -> None:
    shape = (60, 400, 500)
    if make is make_hdf5:
        with h5py.File(tmp_path / "ts_1.h5", "w") as file:
            file["raw"] = whole_numbers(shape)
        path = tmp_path / "ts_1.h5"
    elif make is make_ome:
        path = tmp_path / "ts_1.zarr"
        zarr.save_array(str(path), whole_numbers(shape), chunks=(32, 64, 64), compressor=None)
    else:
        path = make(tmp_path, whole_numbers(shape))
    script = (
        "import sys; from tomopick.io.tomograms import read_tomogram\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(l.split()[1]) for l in lines if l.startswith('VmHWM'))\n"
        "t = read_tomogram(sys.argv[1], voxel_spacing=10)\n"
        "t.read((0, 0, 0), (30, 32, 32)); before = peak(); total = 0\n"
        "for z in (0, 30):\n"
        "    for y in range(0, 400, 40):\n"
        "        for x in range(0, 500, 50): total += t.read((z, y, x), (z + 30, y + 40, x + 50)).sum(dtype=float)\n"
        "print(peak() - before, total)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    grown_kib, total = done.stdout.split()
    assert float(total) == whole_numbers(shape).sum(dtype=float)
    assert int(grown_kib) < 6000, f"reading 48 MB region by region took {grown_kib} KiB more"


@given(array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6), st.floats(1.01, 60))
@settings(max_examples=30, deadline=None)
def test_mrc_files_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], spacing: float
) -> None:
    path = tmp_path_factory.mktemp("mrc") / "a.mrc"
    volume = np.random.default_rng(0).normal(size=shape)
    write_mrc(path, volume, spacing)
    tomogram = read_tomogram(path)
    assert tomogram.spacing == pytest.approx(spacing, rel=2e-7)
    np.testing.assert_array_equal(tomogram[:, :, :], volume.astype(np.float32))


def test_a_written_mrc_is_valid_for_others(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, np.ones(SHAPE, bool), 99)
    write_mrc(path, whole_numbers(), SPACING)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.is_volume()
        assert float(file.voxel_size.x) == pytest.approx(SPACING)
        np.testing.assert_array_equal(file.data, whole_numbers())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("array", "spacing"), [(np.zeros((3, 4)), 10), (np.zeros((2, 3, 4)), 0), (np.zeros(3, "c8"), 1)]
)
def test_what_is_no_volume_is_not_written(tmp_path: Path, array: NDArray[np.float64], spacing: float) -> None:
    with pytest.raises(DataError):
        write_mrc(tmp_path / "a.mrc", array, spacing)
    assert not list(tmp_path.iterdir())


def test_the_tomograms_of_a_folder(tmp_path: Path) -> None:
    for name in ["b.mrc", "a.REC", "c.map", "picks.csv", ".b.1234.partial.mrc", "d.mrc.gz", "ts.st", "e.hdf5", "f.h5"]:
        (tmp_path / name).write_bytes(b"")
    for name in ["z.ome.zarr", "y.zarr", "frames"]:
        (tmp_path / name).mkdir()
    found = [p.name for p in tomogram_files(str(tmp_path))]
    assert found == ["a.REC", "b.mrc", "c.map", "e.hdf5", "f.h5", "y.zarr", "z.ome.zarr"]
    with pytest.raises(DataError, match=r"holds no tomograms.*\.mrc"):
        tomogram_files(tmp_path / "frames")
    with pytest.raises(DataError, match="No such file"):
        tomogram_files(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["TS_1.5_bin4", "TS.rec", "ts_10.00Apx"])
def test_only_the_ending_is_left_out_of_the_name(tmp_path: Path, name: str) -> None:
    path = make_mrc(tmp_path, whole_numbers()).rename(tmp_path / f"{name}.MRC")
    assert read_tomogram(path).name == name
    assert read_tomogram(path.rename(tmp_path / "ts.no_ending")).name == "ts.no_ending"
