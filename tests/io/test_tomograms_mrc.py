"""MRC headers as programs write them, good and bad."""

import bz2
import gzip
import os
import struct
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.tomograms import read_tomogram, write_mrc

SHAPE = (4, 5, 6)
VOLUME = np.arange(120, dtype=np.float32).reshape(SHAPE)
WORDS = {
    "nx": 0,
    "nz": 2,
    "mode": 3,
    "mz": 9,
    "mapc": 16,
    "mapr": 17,
    "ispg": 22,
    "nsymbt": 23,
    "imod": 38,
    "flags": 39,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_mrc(tmp_path / "ts.mrc", VOLUME, 8.0)
    return tmp_path / "ts.mrc"


def set_words(path: Path, order: str = "<", **words: int) -> None:
    """Overwrite 4-byte integers of the header, named as in the MRC2014 standard."""
    data = bytearray(path.read_bytes())
    for name, value in words.items():
        struct.pack_into(f"{order}i", data, 4 * WORDS[name], value)
    path.write_bytes(data)


def set_cell(path: Path, *xyz: float) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 40, *xyz)
    path.write_bytes(data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("flags", "signed"), [(None, True), (1, True), (0, False), (2, False), (3, True)])
def test_bytes_are_signed_unless_imod_says_otherwise(
    tmp_path: Path, order: str, flags: int | None, signed: bool
) -> None:
    data = np.arange(120, dtype=np.uint8).reshape(SHAPE) * 2
    path = tmp_path / "ts.mrc"
    with mrcfile.new(path) as file:
        file.set_data(data.view(np.int8))
        file.voxel_size = 8
    if order == ">":
        swap_header(path)
    if flags is not None:
        set_words(path, order, imod=1146047817, flags=flags)
    expected = data.view(np.int8) if signed else data
    np.testing.assert_array_equal(read_tomogram(path)[:, :, :], expected)


def swap_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    header = np.frombuffer(bytes(data[:208]), "<i4").astype(">i4").tobytes()
    data[:208], data[212:216] = header, b"\x11\x11\0\0"
    path.write_bytes(data)


def test_a_file_from_before_the_map_mark_is_read(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[208:216] = bytes(8)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_tomogram(path)[:, :, :], VOLUME)


def test_a_wrong_machine_stamp_is_seen_through(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[212:214] = b"\x11\x11"
    path.write_bytes(data)
    tomogram = read_tomogram(path)
    assert tomogram.spacing == 8
    np.testing.assert_array_equal(tomogram[:, :, :], VOLUME)


def test_content_counts_more_than_the_ending(path: Path) -> None:
    np.testing.assert_array_equal(read_tomogram(path.rename(path.with_suffix(".h5")))[:, :, :], VOLUME)


def test_a_longer_file_is_read(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(100))
    np.testing.assert_array_equal(read_tomogram(path)[:, :, :], VOLUME)


@pytest.mark.parametrize("cell_z", [8.0, 8.0 * SHAPE[0]])
def test_a_stack_with_one_plane_in_its_grid_is_read(path: Path, cell_z: float) -> None:
    set_words(path, ispg=0, mz=1)
    set_cell(path, 8.0 * SHAPE[2], 8.0 * SHAPE[1], cell_z)
    tomogram = read_tomogram(path)
    assert tomogram.spacing == 8
    np.testing.assert_array_equal(tomogram[:, :, :], VOLUME)


@pytest.mark.parametrize("spacing", [10.012, 13.48, 7.84, 1.0012, 0.834, 4.0 / 3])
@pytest.mark.parametrize("size", [630, 631, 184, 959])
def test_the_spacing_is_exact_where_float32_allows(tmp_path: Path, spacing: float, size: int) -> None:
    path = tmp_path / "ts.mrc"
    write_mrc(path, np.zeros((2, 3, size), np.float32), spacing)
    tolerance = 0 if spacing != 4.0 / 3 else 1e-6
    assert abs(read_tomogram(path).spacing - spacing) <= tolerance


@pytest.mark.parametrize(
    "cell", [(0, 0, 0), (48, 40, 0), (float("nan"), 40, 32), (float("inf"), 40, 32), (-48, 40, 32)], ids=str
)
def test_a_header_without_voxel_size_asks_for_one(path: Path, cell: tuple[float, float, float]) -> None:
    set_cell(path, *cell)
    with pytest.raises(DataError, match=r"ts\.mrc .*pass --voxel-spacing"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_spacing=13.5).spacing == 13.5


def test_a_header_without_a_grid_asks_for_a_voxel_size(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[28:40] = bytes(12)
    path.write_bytes(data)
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_spacing=13.5).spacing == 13.5


def test_voxels_of_one_angstrom_are_taken_with_a_warning(path: Path) -> None:
    write_mrc(path, VOLUME, 1.0)
    with pytest.warns(UserWarning, match=r"ts\.mrc.*1 A.*pass --voxel-spacing"):
        assert read_tomogram(path).spacing == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_tomogram(path, voxel_spacing=9.0).spacing == 9


def test_voxels_that_are_no_cubes_are_refused(path: Path) -> None:
    set_cell(path, 8.0 * SHAPE[2], 8.0 * SHAPE[1], 9.0 * SHAPE[0])
    with pytest.raises(DataError, match="8 x 8 x 9 A"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_spacing=8.0).spacing == 8
    set_cell(path, 8.0 * SHAPE[2], 8.0 * SHAPE[1], 8.05 * SHAPE[0])
    assert read_tomogram(path).spacing == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"mode": 4}, "complex"),
        ({"mode": 3}, "complex"),
        ({"mode": 7}, "mode 7"),
        ({"mode": 101}, "mode 101"),
        ({"mapc": 2, "mapr": 1}, r"order \(2, 1, 3\)"),
        ({"nz": 0}, "not an MRC file"),
        ({"nx": -6}, "not an MRC file"),
        ({"nsymbt": -4}, "not an MRC file"),
        ({"ispg": 401, "mz": 2}, "stack of volumes"),
        ({"nz": 1, "mz": 1}, "2D image of 5 x 6"),
        ({"nz": 40}, f"truncated: .*{1024 + 480 * 10} bytes, it has {1024 + 480}"),
        ({"nsymbt": 2**31 - 1}, "truncated"),
        ({"nx": 2**31 - 1, "nz": 2**31 - 1}, "truncated"),
    ],
    ids=str,
)
def test_a_bad_header_is_one_clear_line(path: Path, words: dict[str, int], message: str) -> None:
    set_words(path, **words)
    with pytest.raises(DataError, match=message) as caught:
        read_tomogram(path, voxel_spacing=10)
    assert "ts.mrc" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"MAP", "3 bytes"),
        (b"nothing like a tomogram. " * 100, "not an MRC file"),
        (bytes(4096), "not an MRC file"),
        (gzip.compress(VOLUME.tobytes()), "unpack it first"),
        (bz2.compress(VOLUME.tobytes()), "unpack it first"),
    ],
    ids=["empty", "short", "text", "zeros", "gzip", "bzip2"],
)
@pytest.mark.parametrize("spacing", [None, 10.0])
def test_what_is_no_mrc_file_is_one_clear_line(
    tmp_path: Path, content: bytes, message: str, spacing: float | None
) -> None:
    path = tmp_path / "ts.mrc"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"ts\.mrc.*{message}") as caught:
        read_tomogram(path, voxel_spacing=spacing)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [1023, 1024, 1500])
def test_a_truncated_file_is_told_with_its_bytes(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"ts\.mrc.* {kept}"):
        read_tomogram(path)


def test_a_file_that_shrinks_or_goes_after_it_was_opened(path: Path) -> None:
    tomogram = read_tomogram(path)
    path.write_bytes(path.read_bytes()[:-4])
    tomogram.read((0, 0, 0), (3, 5, 6))
    with pytest.raises(DataError, match="shorter"):
        tomogram.read((0, 0, 0), SHAPE)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        tomogram.read((0, 0, 0), SHAPE)


def test_other_things_than_tomograms(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_tomogram(tmp_path / "nothing.mrc")
    with pytest.raises(DataError, match="folder without zarr metadata"):
        read_tomogram(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="neither MRC nor HDF5"):
        read_tomogram(tmp_path / "notes.txt")
    (tmp_path / "folder.mrc").mkdir()
    with pytest.raises(DataError, match=r"folder\.mrc"):
        read_tomogram(tmp_path / "folder.mrc")


def test_an_mrc_file_has_no_datasets(path: Path) -> None:
    with pytest.raises(DataError, match="one volume"):
        read_tomogram(path, dataset="raw")


@contextmanager
def without_privileges() -> Iterator[Any]:
    """Root may read everything: be another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(path: Path) -> None:
    read_tomogram(path)
    path.chmod(0)
    with without_privileges(), pytest.raises(DataError, match=r"ts\.mrc: Permission denied"):
        read_tomogram(path)


@pytest.mark.parametrize(("mode", "message"), [(0o555, "Permission denied; the old file is kept"), (0, "Permission")])
def test_a_folder_that_may_not_be_written(mode: int, message: str) -> None:
    # Not tmp_path, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ts.mrc"
        write_mrc(path, VOLUME, 8)
        Path(folder).chmod(mode)
        with without_privileges(), pytest.raises(DataError, match=rf"cannot write .*{message}"):
            write_mrc(path, VOLUME + 1, 10)
        Path(folder).chmod(0o755)
        np.testing.assert_array_equal(read_tomogram(path)[:, :, :], VOLUME)
