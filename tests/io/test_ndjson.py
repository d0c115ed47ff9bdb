import json
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
from copick.impl import cryoet_data_portal as portal

from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, read_picks, write_picks
from tomopick.picks import Picks

PLAIN = Picks.join(
    [
        Picks.of("TS_1", "ribosome", [[0, 0, 0], [100.12, 200.24, 50.06]], [0.9, 0.5]),
        Picks.of("TS_1", "ball", [[1001.2, 10.012, 20.024]], [0.4]),
    ]
)
TURNED = Picks.of("TS_1", "ribosome", [[10, 20, 30], [40, 50, 60]], [0.9, 0.5], [[10, 20, 30], [-100, 90, 5]])


def by_copick(path: Path, spacing: float, kind: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The points as copick reads them from the portal, whose store is this machine's disk here."""
    local = SimpleNamespace(S3FileSystem=lambda **_: fsspec.filesystem("file"))
    monkeypatch.setattr(portal, "s3fs", local)
    wanted = SimpleNamespace(voxel_spacing=spacing, shape_type=kind, s3_path=str(path))
    return portal.CopickPicksFileCDP._load_points_from_s3(wanted)


@pytest.mark.parametrize(("picks", "kind"), [(PLAIN, "Point"), (TURNED, "OrientedPoint")])
def test_copicks_own_reader_of_the_portal_finds_the_same(picks, kind, tmp_path: Path, monkeypatch):
    write_picks(tmp_path / "TS_1.ndjson", picks, spacing=10.012)
    points = by_copick(tmp_path / "TS_1.ndjson", 10.012, kind, monkeypatch)
    found = [[p.location.x, p.location.y, p.location.z] for p in points]
    np.testing.assert_allclose(found, picks.xyz(), atol=1e-6)
    if picks.has_angles:
        from tomopick.io.orientation import rotation_from_euler

        turned = [np.array(p.transformation_)[:3, :3] for p in points]
        np.testing.assert_allclose(turned, rotation_from_euler(picks.euler()), atol=1e-9)


@pytest.mark.parametrize("picks", [PLAIN, TURNED])
def test_everything_but_the_run_comes_back(picks, tmp_path: Path):
    sizes = {"TS_1": TomogramSize((631, 630, 185), 10.012)}
    write_picks(tmp_path / "TS_1.ndjson", picks, tomogram_sizes=sizes)
    back = read_picks(tmp_path / "TS_1.ndjson", tomogram_sizes=sizes)
    assert back.table[["run", "object"]].to_numpy().tolist() == picks.table[["run", "object"]].to_numpy().tolist()
    np.testing.assert_allclose(back.xyz(), picks.xyz(), atol=1e-6)
    np.testing.assert_allclose(back.scores(), picks.scores())
    np.testing.assert_allclose(back.euler(), picks.euler(), atol=1e-6)


def test_the_portals_own_lines_need_an_object_and_a_spacing(tmp_path: Path):
    path = tmp_path / "TS_9.ndjson"
    path.write_text(json.dumps({"type": "point", "location": {"x": 1, "y": 2.5, "z": 3}}) + "\n\n")
    with pytest.raises(DataError, match="pass --voxel-spacing"):
        read_picks(path, object_name="ribosome")
    with pytest.raises(DataError, match="say it with --object"):
        read_picks(path, spacing=10)
    back = read_picks(path, spacing=10, object_name="ribosome")
    assert back.table[["run", "object", "x", "y", "z", "score"]].to_numpy().tolist() == [
        ["TS_9", "ribosome", 10.0, 25.0, 30.0, 1.0]
    ]


@pytest.mark.parametrize("line", ["no json", "[]", "{}", '{"location": {"x": 1, "y": 2}}', '{"location": 3}'])
def test_a_line_that_is_no_point_is_named(line: str, tmp_path: Path):
    (tmp_path / "a.ndjson").write_text('{"location": {"x": 1, "y": 2, "z": 3}}\n' + line)
    with pytest.raises(DataError, match="line 2 is not a point"):
        read_picks(tmp_path / "a.ndjson", spacing=10, object_name="x")


def test_several_tomograms_are_refused(tmp_path: Path):
    two = Picks.join([PLAIN, Picks.of("TS_2", "ball", [[1, 2, 3]])])
    with pytest.raises(DataError, match="of one tomogram, and these are of TS_1, TS_2"):
        write_picks(tmp_path / "a.ndjson", two, spacing=10)
