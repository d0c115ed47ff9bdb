"""Score maps in OME-Zarr: what other programs read is what was written, and nothing is left half-written."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from tomopick.errors import DataError
from tomopick.io.score_maps import open_scores, writing_scores
from tomopick.objects import ParticleObject

COUNTS = (70, 20, 9)
OBJECTS = (
    ParticleObject(name="ribosome", radius=150, color=(255, 0, 16, 255)),
    ParticleObject(name="ferritin", radius=60, color=(0, 128, 0, 255)),
)
SCORES = np.random.default_rng(0).random((3, *COUNTS), dtype=np.float32)


def write(path: Path, scores: np.ndarray = SCORES) -> None:
    with writing_scores(path, COUNTS, OBJECTS, 20.0, "TS_1") as piece:
        for z, y in product(range(0, COUNTS[0], 33), range(0, COUNTS[1], 13)):
            piece(scores[:, z : z + 33, y : y + 13], (z, y, 0))


def test_the_reader_of_ome_zarr_finds_scores_names_colours_and_scale(tmp_path):
    write(tmp_path / "TS_1.zarr")
    (node,) = Reader(parse_url(tmp_path / "TS_1.zarr"))()
    assert np.array_equal(np.asarray(node.data[0]), SCORES[:2])
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "z", "y", "x"]
    assert {axis.get("unit") for axis in node.metadata["axes"][1:]} == {"angstrom"}
    assert node.metadata["coordinateTransformations"] == [[{"type": "scale", "scale": [1.0, 20.0, 20.0, 20.0]}]]
    omero = zarr.open(str(tmp_path / "TS_1.zarr"), mode="r").attrs["omero"]
    assert [channel["label"] for channel in omero["channels"]] == ["ribosome", "ferritin"]
    assert [channel["color"] for channel in omero["channels"]] == ["FF0010", "008000"]


def test_a_map_is_opened_with_names_and_spacing(tmp_path):
    write(tmp_path / "TS_1.zarr")
    saved = open_scores(tmp_path / "TS_1.zarr")
    assert (saved.objects, saved.spacing) == (("ribosome", "ferritin"), 20.0)
    assert np.array_equal(saved.array[1, 3:5, :, 2:], SCORES[1, 3:5, :, 2:])


@pytest.mark.parametrize("kind", ["nothing", "array", "tomogram"])
def test_what_is_no_score_map_is_refused(kind, tmp_path):
    path = tmp_path / "a.zarr"
    if kind == "array":
        zarr.open(str(path), mode="w", shape=(3, 4, 5), dtype="f4")
    elif kind == "tomogram":
        zarr.open_group(str(path), mode="w").attrs["multiscales"] = [{"datasets": []}]
    with pytest.raises(DataError, match=r"a\.zarr is not a score map"):
        open_scores(path)


def test_an_older_map_is_replaced_and_nothing_else_is_left(tmp_path):
    write(tmp_path / "scores" / "a.zarr", SCORES * 0)
    write(tmp_path / "scores" / "a.zarr")
    assert np.array_equal(zarr.open(str(tmp_path / "scores" / "a.zarr"), mode="r")["0"][:], SCORES[:2])
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["a.zarr"]


def test_an_interruption_leaves_the_older_map(tmp_path):
    write(tmp_path / "a.zarr")

    def interrupted() -> None:
        with writing_scores(tmp_path / "a.zarr", COUNTS, OBJECTS, 20.0, "x") as piece:
            piece(np.zeros((3, *COUNTS), np.float32), (0, 0, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert np.array_equal(zarr.open(str(tmp_path / "a.zarr"), mode="r")["0"][:], SCORES[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/a\.zarr"):
        write(tmp_path / "file" / "a.zarr")
