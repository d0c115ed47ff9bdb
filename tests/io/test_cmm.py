"""ChimeraX markers: what ChimeraX writes is read, and what it reads is written."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tomopick.errors import DataError
from tomopick.io.cmm import read_cmm, write_cmm
from tomopick.picks import Picks

CHIMERAX = """<marker_set name="markers">
<marker id="1" x="-26.133" y="1.7291" z="114.69" r="1" g="1" b="0" radius="1"/>
<marker id="2" x="-0.2414" y="13.392" z="114.91" r="1" g="1" b="0" radius="1"/>
</marker_set>
"""


def test_markers_placed_in_chimerax_are_picks(tmp_path: Path):
    (tmp_path / "TS_1.cmm").write_text(CHIMERAX)
    picks = read_cmm(tmp_path / "TS_1.cmm", object_name="ribosome")
    assert (picks.runs, picks.objects) == (["TS_1"], ["ribosome"])
    assert picks.xyz().tolist() == [[-26.133, 1.7291, 114.69], [-0.2414, 13.392, 114.91]]
    assert picks.scores().tolist() == [1, 1]
    with pytest.raises(DataError, match="'markers' does not tell its object"):
        read_cmm(tmp_path / "TS_1.cmm")


def test_each_run_and_object_is_a_set_of_its_own_colour_and_size(tmp_path: Path):
    parts = [Picks.of("a: 1", "ribosome", [[1, 2, 3]], 0.5), Picks.of("b", "mine", [[4, 5, 6], [7, 8, 9]], 0.25)]
    write_cmm(tmp_path / "p.cmm", Picks.join(parts))
    sets = ET.parse(tmp_path / "p.cmm").getroot().findall("marker_set")
    assert [one.get("name") for one in sets] == ["a: 1: ribosome", "b: mine"]
    markers = [one.findall("marker") for one in sets]
    assert [[m.get("id") for m in one] for one in markers] == [["1"], ["1", "2"]]
    assert [one[0].get("radius") for one in markers] == ["150", "50"]
    assert len({tuple(one[0].get(c) for c in "rgb") for one in markers}) == 2
    assert read_cmm(tmp_path / "p.cmm").runs == ["a: 1", "b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read"),
        ("<marker_set", "cannot read"),
        ("<html/>", "no marker_set"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><marker_set/>', "declarations"),
        (CHIMERAX.replace('x="-26.133"', ""), "marker 1 has no x, y, z"),
        (CHIMERAX.replace('"13.392"', '"left"'), "marker 2 has no x, y, z"),
        (CHIMERAX.replace('"13.392"', '"nan"'), "marker 2 has a coordinate that is not finite"),
        (CHIMERAX.replace('z="114.69"', 'z="114.69" score="high"'), "row 1"),
    ],
)
def test_what_is_no_marker_file_is_refused(text: str, says: str, tmp_path: Path):
    (tmp_path / "p.cmm").write_text(text)
    with pytest.raises(DataError, match=says):
        read_cmm(tmp_path / "p.cmm", object_name="a")
