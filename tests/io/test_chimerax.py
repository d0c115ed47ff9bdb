from pathlib import Path

import pytest

from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, read_picks, write_picks
from tomopick.picks import Picks

PICKS = Picks.of("TS_1", "ribosome", [[10, 20, 30], [40, 50, 60]], [0.9, 0.5])


def commands(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_the_script_opens_the_tomogram_and_the_markers_beside_it(tmp_path: Path):
    sizes = {"TS_1": TomogramSize((64, 64, 32), 10, "../my tomograms/TS_1.mrc")}
    write_picks(tmp_path / "a.cxc", PICKS, tomogram_sizes=sizes)
    told = commands(tmp_path / "a.cxc")
    assert told[0] == 'open "../my tomograms/TS_1.mrc"'
    assert told[-1] == 'open "a.cmm"'
    back = read_picks(tmp_path / "a.cmm")
    assert back.xyz().tolist() == PICKS.xyz().tolist()


def test_without_a_tomogram_the_script_opens_markers_alone(tmp_path: Path):
    write_picks(tmp_path / "a.cxc", PICKS)
    assert commands(tmp_path / "a.cxc") == ['open "a.cmm"']


def test_a_name_cannot_smuggle_in_a_command(tmp_path: Path):
    for name in ('a"; exit', "a\nexit"):
        with pytest.raises(DataError, match="cannot be told the name"):
            write_picks(tmp_path / "a.cxc", PICKS, tomogram_sizes={"TS_1": TomogramSize((1, 1, 1), 10, name)})
    assert not list(tmp_path.iterdir())


def test_scripts_are_not_read_and_are_of_one_tomogram(tmp_path: Path):
    with pytest.raises(DataError, match="is not read"):
        read_picks(tmp_path / "a.cxc")
    two = Picks.join([PICKS, Picks.of("TS_2", "ribosome", [[1, 2, 3]])])
    with pytest.raises(DataError, match="these picks are of TS_1, TS_2"):
        write_picks(tmp_path / "a.cxc", two)
