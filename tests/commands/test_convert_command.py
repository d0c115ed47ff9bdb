"""`tomopick convert`: the same picks in each format, and one line where something is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import starfile

import tomopick as tp
from tomopick.io.picks import read_picks


@pytest.fixture(scope="module")
def truth(phantom) -> tp.Picks:
    return tp.read_picks(phantom / "truth.csv")


def assert_same(one: tp.Picks, other: tp.Picks) -> None:
    keys = ["run", "object", "x", "y", "z"]
    first, second = (p.table.sort_values(keys, ignore_index=True) for p in (one, other))
    assert first[["run", "object"]].equals(second[["run", "object"]])
    np.testing.assert_allclose(first[["x", "y", "z"]], second[["x", "y", "z"]], atol=1e-3)


def test_from_format_to_format_and_back(succeed, phantom, truth, tmp_path):
    succeed("convert", phantom / "truth.csv", tmp_path / "a.star", "--tomograms", phantom)
    assert "rlnCenteredCoordinateXAngst" in starfile.read(tmp_path / "a.star").columns
    succeed("convert", tmp_path / "a.star", tmp_path / "b.cmm")
    succeed("convert", tmp_path / "b.cmm", tmp_path / "c.star", "--pixels", "--voxel-spacing", 10)
    assert "rlnCoordinateX" in starfile.read(tmp_path / "c.star").columns
    succeed("convert", tmp_path / "c.star", tmp_path / "d.csv")
    for name in ("a.star", "b.cmm", "d.csv"):
        assert_same(read_picks(tmp_path / name), truth)


def test_a_project_brings_its_annotations_and_sizes(succeed, refuse, phantom, truth, tmp_path):
    succeed("convert", phantom, tmp_path / "a.star", "--annotated")
    assert_same(read_picks(tmp_path / "a.star"), truth)
    refuse("convert", phantom, tmp_path / "b.star", says=("no picks by user 'tomopick'",))
    assert not (tmp_path / "b.star").exists()


def test_views_for_other_programs_point_to_the_tomogram(succeed, refuse, phantom, lab, tmp_path):
    given = ["--tomograms", lab, "--runs", "SIM_0"]
    (tmp_path / "out").mkdir()
    succeed("convert", phantom / "truth.csv", tmp_path / "out" / "a.cxc", *given)
    assert 'open "../lab/SIM_0.mrc"' in (tmp_path / "out" / "a.cxc").read_text().splitlines()
    link = "zarr://https://example.org/a.zarr"
    succeed("convert", phantom / "truth.csv", tmp_path / "a.json", *given, "--link", link)
    assert json.loads((tmp_path / "a.json").read_text())["layers"][0]["source"] == [{"url": link}]
    refuse(
        "convert", phantom / "truth.csv", tmp_path / "b.json", "--runs", "SIM_0", "--voxel-spacing", 10, "--link", link,
        says=("--tomograms",),
    )  # fmt: skip


def test_what_a_table_loses_is_said(succeed, phantom, tmp_path):
    told = succeed("convert", phantom / "truth.csv", tmp_path / "a.tbl", "--tomograms", phantom)
    assert "Dynamo table keeps no names of objects" in " ".join(told.err.split())


def test_what_is_missing_is_said(refuse, phantom, tmp_path):
    source = phantom / "truth.csv"
    refuse("convert", source, tmp_path / "a.star", says=("--tomograms", "--voxel-spacing"))
    refuse("convert", source, tmp_path / "a.star", "--pixels", "--tomograms", phantom, says=("--voxel-spacing",))
    refuse("convert", source, tmp_path / "a.txt", says=(".csv, .star, .cmm",))
    refuse("convert", tmp_path / "no.csv", tmp_path / "a.cmm", says=("no.csv",))
    assert list(tmp_path.iterdir()) == []


def test_one_object_above_a_score_for_relion_keeps_the_sizes_that_the_file_tells(
    succeed, refuse, phantom, truth, tmp_path
):
    scored = tp.Picks(truth.table.assign(score=np.linspace(0, 1, len(truth))))
    tp.write_picks(tmp_path / "all.csv", scored)
    succeed("convert", tmp_path / "all.csv", tmp_path / "all.star", "--tomograms", phantom)
    name = truth.objects[0]
    succeed("convert", tmp_path / "all.star", tmp_path / "one.star", "--objects", name, "--min-score", 0.3)
    assert_same(read_picks(tmp_path / "one.star"), scored.where(name=name, min_score=0.3))
    assert "rlnCenteredCoordinateXAngst" in starfile.read(tmp_path / "one.star").columns
    refuse("convert", tmp_path / "all.star", tmp_path / "no.star", "--objects", "virus", says=("virus", name))
    refuse(
        "convert", tmp_path / "all.star", tmp_path / "no.star", "--min-score", 1.5, says=("1.5", "the best has 1.000")
    )
    assert not (tmp_path / "no.star").exists()


def test_relions_own_sizes_say_where_its_middle_is(succeed, phantom, truth, tmp_path):
    """A tomogram of 64 voxels of 10 A is of 639 unbinned pixels of 1 A: its middle is half an A before 320."""
    names = "\n".join(f"{run} 639 639 319 1.0" for run in truth.runs)
    (tmp_path / "tomograms.star").write_text(
        "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoSizeX #2\n_rlnTomoSizeY #3\n_rlnTomoSizeZ #4\n"
        f"_rlnTomoTiltSeriesPixelSize #5\n{names}\n"
    )
    words = ("--tomograms", phantom, "--tomograms", tmp_path / "tomograms.star")
    succeed("convert", phantom / "truth.csv", tmp_path / "a.star", *words)
    table = starfile.read(tmp_path / "a.star")
    expected = truth.table[["x", "y", "z"]].to_numpy() - np.array([319.5, 319.5, 159.5])
    found = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert set(table["rlnTomoTiltSeriesPixelSize"]) == {1.0}
    # other programs open the tomogram itself, and count its voxels
    succeed("convert", phantom / "truth.csv", tmp_path / "a.ndjson", *words, "--runs", truth.runs[0])
    points = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    there = sorted(tuple(point["location"].values()) for point in points)
    own = truth.where(run=truth.runs[0]).xyz() / 10
    np.testing.assert_allclose(there, sorted(map(tuple, own)), atol=1e-3)
