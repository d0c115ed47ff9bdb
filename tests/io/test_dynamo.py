from pathlib import Path

import dynamotable
import eulerangles
import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.orientation import rotation_from_euler
from tomopick.io.picks import TomogramSize, read_picks, write_picks
from tomopick.picks import Picks

EULER = [[10, 20, 30], [-100, 90, 5], [170, 135, -60]]
PICKS = Picks.join(
    [
        Picks.of("TS_2", "ribosome", [[0, 0, 0], [100.12, 200.24, 50.06]], [0.9, 0.5], EULER[:2]),
        Picks.of("TS_1", "ball", [[1001.2, 10.012, 20.024]], [0.4], EULER[2:]),
    ]
)
SIZES = {"TS_1": TomogramSize((631, 630, 185), 10.012), "TS_2": TomogramSize((630, 631, 184), 10.012)}


def test_dynamos_pixels_count_from_one_and_the_map_names_tomograms(tmp_path: Path):
    write_picks(tmp_path / "a.tbl", PICKS, tomogram_sizes=SIZES)
    table = dynamotable.read(str(tmp_path / "a.tbl"), str(tmp_path / "a.doc"))
    by_score = table.sort_values("cc", ascending=False)
    np.testing.assert_allclose(by_score[["x", "y", "z"]], [[1, 1, 1], [11, 21, 6], [101, 2, 3]], atol=1e-9)
    assert by_score["tomo_file"].tolist() == ["TS_2.mrc", "TS_2.mrc", "TS_1.mrc"]
    assert by_score["class"].tolist() == [2, 2, 1]
    np.testing.assert_allclose(by_score["apix"], 10.012)


def test_angles_are_those_of_an_independent_converter(tmp_path: Path):
    write_picks(tmp_path / "a.tbl", PICKS, tomogram_sizes=SIZES)
    table = dynamotable.read(str(tmp_path / "a.tbl")).sort_values("cc", ascending=False)
    expected = eulerangles.convert_eulers(np.array(EULER, float), source_meta="relion", target_meta="dynamo")
    found = table[["tdrot", "tilt", "narot"]].to_numpy()
    turned = [
        eulerangles.euler2matrix(a, "zxz", intrinsic=False, right_handed_rotation=True) for a in (found, expected)
    ]
    np.testing.assert_allclose(*turned, atol=1e-6)


@pytest.mark.parametrize("picks", [PICKS, Picks(PICKS.table.drop(columns=["rot", "tilt", "psi"]))])
def test_all_but_names_of_objects_comes_back(picks: Picks, tmp_path: Path):
    write_picks(tmp_path / "a.tbl", picks, tomogram_sizes=SIZES)
    back = read_picks(tmp_path / "a.tbl")
    assert back.table["run"].tolist() == picks.table["run"].tolist()
    assert back.table["object"].tolist() == ["class-2", "class-2", "class-1"]
    np.testing.assert_allclose(back.xyz(), picks.xyz(), atol=1e-3)
    np.testing.assert_allclose(back.scores(), picks.scores())
    np.testing.assert_allclose(back.euler(), picks.euler(), atol=1e-3)


def test_a_table_of_another_program_needs_a_spacing_and_may_be_named(tmp_path: Path):
    path = tmp_path / "TS_7.tbl"
    row = np.zeros(35)
    row[[0, 1, 3, 9, 19, 23, 24, 25]] = [1, 1, 0.5, 0.25, 3, 11, 21, 31]
    path.write_text(" ".join(f"{v:g}" for v in row) + "\n")
    with pytest.raises(DataError, match=r"column 36.*--voxel-spacing"):
        read_picks(path)
    back = read_picks(path, spacing=10, object_name="ribosome")
    assert back.table.to_numpy().tolist() == [["TS_7", "ribosome", 105.0, 200.0, 300.0, 0.25]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "cannot read"),
        ("1 2 3\n", "fewer than 26 columns"),
        ("a " * 35 + "\n", "to float"),
        ("nan " * 35, "not finite"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str, tmp_path: Path):
    (tmp_path / "a.tbl").write_text(text)
    with pytest.raises(DataError, match=message):
        read_picks(tmp_path / "a.tbl", spacing=10)


def test_cryocat_reads_the_same_places_and_orientations(tmp_path: Path):
    cryomotl = pytest.importorskip("cryocat.cryomotl")
    write_picks(tmp_path / "a.tbl", PICKS, tomogram_sizes=SIZES)
    motl = cryomotl.DynamoMotl(str(tmp_path / "a.tbl"))
    table = motl.df.sort_values("score", ascending=False)
    np.testing.assert_allclose(table[["x", "y", "z"]].to_numpy(float), [[1, 1, 1], [11, 21, 6], [101, 2, 3]])
    turned = np.array([one.as_matrix() for one in cryomotl.Motl(table).get_rotations()]).reshape(-1, 3, 3)
    np.testing.assert_allclose(turned, rotation_from_euler(EULER), atol=1e-6)
