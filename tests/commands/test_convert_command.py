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
