from pathlib import Path

import imodmodel
import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, read_picks, write_picks
from tomopick.picks import Picks

PICKS = Picks.join(
    [
        Picks.of("TS_1", "a ribosome", [[0, 0, 0], [100.12, 200.24, 50.06]], [0.9, 0.5]),
        Picks.of("TS_1", "ball", [[1001.2, 10.012, 20.024]], [0.4]),
    ]
)


def test_imods_own_coordinates_have_the_first_voxels_centre_at_half_a_pixel_and_section_0(tmp_path: Path):
    write_picks(tmp_path / "TS_1.mod", PICKS, spacing=10.012)
    table = imodmodel.read(tmp_path / "TS_1.mod")
    points = table[table["object_id"] == 0][["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(points, [[0.5, 0.5, 0], [10.5, 20.5, 5]], atol=1e-5)
    model = imodmodel.ImodModel.from_file(tmp_path / "TS_1.mod")
    assert [one.header.name.strip("\0") for one in model.objects] == ["a ribosome", "ball"]
    assert (model.header.units, model.header.pixelsize) == (-10, pytest.approx(10.012))
    assert [one.header.flags.scattered for one in model.objects] == [True, True]
    assert model.objects[0].header.pdrawsize == 5


def test_places_come_back_with_run_and_objects(tmp_path: Path):
    write_picks(tmp_path / "TS_1.mod", PICKS, tomogram_sizes={"TS_1": TomogramSize((631, 630, 185), 10.012)})
    back = read_picks(tmp_path / "TS_1.mod")
    assert back.table[["run", "object"]].to_numpy().tolist() == PICKS.table[["run", "object"]].to_numpy().tolist()
    np.testing.assert_allclose(back.xyz(), PICKS.xyz(), atol=1e-3)
    assert set(back.scores()) == {1.0}


def test_a_model_of_other_units_needs_the_voxel_spacing(tmp_path: Path):
    table = imodmodel.read(_written(tmp_path))
    imodmodel.write(table[["object_id", "contour_id", "x", "y", "z"]].copy(), tmp_path / "hand.mod")
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_picks(tmp_path / "hand.mod", object_name="ball")
    with pytest.raises(DataError, match="IMOD object 1 has no name"):
        read_picks(tmp_path / "hand.mod", spacing=10.012)
    back = read_picks(tmp_path / "hand.mod", spacing=10.012, object_name="ball")
    np.testing.assert_allclose(back.xyz(), PICKS.xyz(), atol=1e-3)
    assert (back.runs, back.objects) == (["hand"], ["ball"])


def _written(folder: Path) -> Path:
    write_picks(folder / "TS_1.mod", PICKS, spacing=10.012)
    return folder / "TS_1.mod"


def test_several_tomograms_or_no_spacing_are_refused(tmp_path: Path):
    two = Picks.join([PICKS, Picks.of("TS_2", "ball", [[1, 2, 3]])])
    with pytest.raises(DataError, match="of one tomogram, and these picks are of TS_1, TS_2"):
        write_picks(tmp_path / "a.mod", two, spacing=10)
    with pytest.raises(DataError, match="needs the tomogram's voxel spacing"):
        write_picks(tmp_path / "a.mod", PICKS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no model at all", b"IMODV1.2" + b"\xff" * 400])
def test_another_file_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "a.mod").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.mod as an IMOD model"):
        read_picks(tmp_path / "a.mod", spacing=10, object_name="x")
