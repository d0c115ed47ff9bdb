import json
from pathlib import Path

import neuroglancer
import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, write_picks
from tomopick.picks import Picks

PICKS = Picks.join(
    [
        Picks.of("TS_1", "ribosome", [[0, 0, 0], [100.12, 200.24, 50.06]], [0.9, 0.5]),
        Picks.of("TS_1", "ball", [[1001.2, 10.012, 20.024]], [0.4]),
    ]
)
ADDRESS = "zarr://https://example.org/TS_1.zarr"


def places(state: neuroglancer.ViewerState, name: str) -> np.ndarray:
    """Points of a layer in metres from the corner of the first voxel."""
    layer = state.layers[name].layer
    scales = [unit.scale for unit in state.dimensions]
    return np.array([point.point for point in layer.annotations]) * scales


def test_neuroglancers_own_reader_finds_points_half_a_voxel_from_the_corner(tmp_path: Path):
    write_picks(tmp_path / "a.json", PICKS, tomogram_sizes={"TS_1": TomogramSize((630, 630, 184), 10.012, ADDRESS)})
    state = neuroglancer.ViewerState(json.loads((tmp_path / "a.json").read_text()))
    half = 10.012 / 2
    expected = np.array([[half] * 3, [100.12 + half, 200.24 + half, 50.06 + half]]) * 1e-10
    np.testing.assert_allclose(places(state, "ribosome"), expected, rtol=1e-9)
    assert [p.props[0] for p in state.layers["ribosome"].layer.annotations] == pytest.approx([0.9, 0.5])
    assert [layer.name for layer in state.layers] == ["tomogram", "ball", "ribosome"]
    assert state.layers["tomogram"].layer.source[0].url == ADDRESS


def test_a_link_holds_the_same_state(tmp_path: Path):
    for name in ("a.json", "a.url"):
        write_picks(tmp_path / name, PICKS, spacing=10.012)
    link = neuroglancer.parse_url((tmp_path / "a.url").read_text().strip())
    assert link.to_json() == json.loads((tmp_path / "a.json").read_text())


def test_a_file_is_no_address_and_only_picks_are_shown(tmp_path: Path):
    sizes = {"TS_1": TomogramSize((630, 630, 184), 10.0, "/data/TS_1.mrc")}
    write_picks(tmp_path / "a.json", PICKS, tomogram_sizes=sizes)
    assert [layer["name"] for layer in json.loads((tmp_path / "a.json").read_text())["layers"]] == ["ball", "ribosome"]


def test_a_state_needs_one_tomogram_and_its_spacing(tmp_path: Path):
    with pytest.raises(DataError, match="--voxel-spacing"):
        write_picks(tmp_path / "a.json", PICKS)
    with pytest.raises(DataError, match="of one tomogram"):
        write_picks(tmp_path / "a.json", Picks.join([PICKS, Picks.of("TS_2", "ball", [[1, 2, 3]])]), spacing=10)
