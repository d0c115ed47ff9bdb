from pathlib import Path

import numpy as np
import pytest
import starfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.errors import DataError
from tomopick.io.picks import FORMATS, TomogramSize, picks_format, read_picks, write_picks
from tomopick.picks import Picks

ODD = {"TS_5_4": TomogramSize((631, 629, 185), 10.012), "001": TomogramSize((511, 720, 93), 7.84)}


def two_runs(angles: bool = True) -> Picks:
    generator = np.random.default_rng(3)
    parts, turns = [], np.random.default_rng(4)
    for run, name in [("TS_5_4", "ribosome"), ("TS_5_4", "apo-ferritin"), ("001", "ribosome")]:
        euler = turns.uniform([-180, 0, -180], [180, 180, 180], (40, 3)) if angles else None
        parts.append(Picks.of(run, name, generator.uniform(0, 6300, (40, 3)), generator.uniform(0, 1, 40), euler))
    return Picks.join(parts)


def assert_same(found: Picks, wanted: Picks) -> None:
    assert found.table["run"].tolist() == wanted.table["run"].tolist()
    assert found.table["object"].tolist() == wanted.table["object"].tolist()
    np.testing.assert_allclose(found.xyz(), wanted.xyz(), atol=1e-3, rtol=0)
    np.testing.assert_allclose(found.scores(), wanted.scores(), rtol=1e-5)
    assert found.has_angles == wanted.has_angles
    np.testing.assert_allclose(found.euler(), wanted.euler(), atol=1e-3)


READ = [form for form in FORMATS if form.read is not None]


@pytest.mark.parametrize("form", [form for form in READ if form.several], ids=lambda f: f.name)
@pytest.mark.parametrize("geometry", [{"tomogram_sizes": ODD}, {"spacing": 10.012}], ids=["centred", "pixels"])
@pytest.mark.parametrize("angles", [True, False], ids=["angles", "no angles"])
def test_every_format_carries_what_it_says(form, geometry, angles, tmp_path: Path):
    picks = two_runs(angles)
    path = tmp_path / f"picks{form.extension}"
    write_picks(path, picks, **geometry)
    assert form.scores
    wanted = picks if form.angles else two_runs(False)
    if not form.objects:
        numbers = {name: f"class-{i}" for i, name in enumerate(picks.objects, start=1)}
        wanted = Picks(wanted.table.assign(object=wanted.table["object"].map(numbers)))
    assert_same(read_picks(path), wanted)  # nothing but the file is needed to read it


@pytest.mark.parametrize("form", READ, ids=lambda f: f.name)
def test_no_picks_survive_as_no_picks(form, tmp_path: Path):
    path = tmp_path / f"picks{form.extension}"
    write_picks(path, Picks.empty(), spacing=10)
    assert len(read_picks(path, spacing=10)) == 0


@settings(max_examples=30, deadline=None)
@given(
    xyz=st.lists(st.tuples(*[st.floats(0, 20000)] * 3), min_size=1, max_size=5),
    score=st.floats(1e-12, 1e6),
    spacing=st.floats(0.5, 40),
    size=st.tuples(*[st.integers(1, 9000)] * 3),
)
def test_star_is_exact_to_a_thousandth_of_an_angstrom(tmp_path_factory, xyz, score, spacing, size):
    path = tmp_path_factory.mktemp("star") / "picks.star"
    picks = Picks.of("a run", "virus-like-particle", xyz, score)
    write_picks(path, picks, tomogram_sizes={"a run": TomogramSize(size, spacing)})
    assert_same(read_picks(path), picks)
    write_picks(path, picks, spacing=spacing)
    assert_same(read_picks(path), picks)


def test_relion_5_counts_from_half_the_unbinned_size(tmp_path: Path):
    path = tmp_path / "picks.star"
    picks = Picks.of("a", "ribosome", [[3160.0, 0.0, 10.0]])
    write_picks(path, picks, tomogram_sizes={"a": TomogramSize((631, 631, 200), 10.0)})
    table = starfile.read(path)
    assert table["rlnCenteredCoordinateXAngst"].iloc[0] == pytest.approx(5)
    assert table["rlnCenteredCoordinateYAngst"].iloc[0] == pytest.approx(-3155)
    assert table["rlnCenteredCoordinateZAngst"].iloc[0] == pytest.approx(-990)


def test_star_columns_are_those_relion_knows(tmp_path: Path):
    path = tmp_path / "picks.star"
    picks = Picks.join([Picks.of("a", "x", [[30, 60, 90]], 0.25, [[10, 20, 30]]), Picks.of("a", "b", [[0, 0, 0]])])
    write_picks(path, Picks.of("a", "x", [[30, 60, 90]], 0.25, [[10, 20, 30]]), spacing=3)
    row = starfile.read(path).iloc[0]
    assert row[["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]].tolist() == [10, 20, 30]
    assert row[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].tolist() == [10, 20, 30]
    assert (row["rlnAutopickFigureOfMerit"], row["rlnPixelSize"], row["tomopickObject"]) == (0.25, 3, "x")
    write_picks(path, picks, spacing=3)
    assert starfile.read(path)["rlnClassNumber"].tolist() == [2, 1]


PARTICLES = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnTomoTiltSeriesPixelSize #4
1 one 8.0 2.0
2 two 8.0 4.0

data_particles

loop_
_rlnTomoName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
_rlnCoordinateZ #4
_rlnOpticsGroup #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
_rlnOriginZAngst #8
_rlnClassNumber #9
TS_01 10 20 30 1 0.5 0 0 1
TS_02 10 20 30 2 0 0 -1 3
"""


def test_relion_pixels_are_unbinned_and_shifts_are_subtracted(tmp_path: Path):
    path = tmp_path / "particles.star"
    path.write_text(PARTICLES)
    picks = read_picks(path, spacing=99)
    np.testing.assert_allclose(picks.xyz(), [[19.5, 40, 60], [40, 80, 121]])
    assert picks.table["object"].tolist() == ["1", "3"]
    assert read_picks(path, object_name="ribosome").objects == ["ribosome"]


def star(path: Path, columns: dict[str, str]) -> Path:
    lines = ["data_particles", "", "loop_", *(f"_{c} #{i + 1}" for i, c in enumerate(columns))]
    path.write_text("\n".join([*lines, " ".join(columns.values()), ""]))
    return path


PIXEL = {"rlnCoordinateX": "10", "rlnCoordinateY": "0", "rlnCoordinateZ": "0", "tomopickObject": "p"}


@pytest.mark.parametrize(
    ("columns", "spacing", "x"),
    [
        ({}, 7.0, 70),
        ({"rlnPixelSize": "5"}, 7.0, 50),
        ({"rlnDetectorPixelSize": "6"}, None, 60),
        ({"rlnDetectorPixelSize": "5", "rlnMagnification": "10000"}, None, 50),
        ({"rlnDetectorPixelSize": "5", "rlnMagnification": "25000"}, None, 20),
    ],
)
def test_where_the_pixel_size_comes_from(columns, spacing, x, tmp_path: Path):
    path = star(tmp_path / "p.star", {"rlnMicrographName": "frames/TS_01.tomostar", **PIXEL, **columns})
    picks = read_picks(path, spacing=spacing)
    assert picks.runs == ["TS_01"]
    assert picks.xyz()[0, 0] == pytest.approx(x)


CENTRED = {f"rlnCenteredCoordinate{a}Angst": "5" for a in "XYZ"}
TOMOGRAMS = """
data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoTomogramBinning #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
7 2.0 5.0 1001 500 201
"""


def test_tomograms_star_beside_the_file_gives_the_sizes(tmp_path: Path):
    path = star(tmp_path / "p.star", {"rlnTomoName": "7", "tomopickObject": "p", **CENTRED})
    with pytest.raises(DataError, match=r"p\.star.*size of 7 is not known.*tomograms\.star"):
        read_picks(path)
    with pytest.raises(DataError, match=r"size of 7 is not known \(of rec_7 it is: are they called the same\?\)"):
        read_picks(path, tomogram_sizes={"rec_7": TomogramSize((100, 50, 20), 10.0)})
    (tmp_path / "tomograms.star").write_text(TOMOGRAMS)
    np.testing.assert_allclose(read_picks(path).xyz(), [[1006, 505, 206]])
    given = {"7": TomogramSize((100, 100, 100), 1.0)}
    np.testing.assert_allclose(read_picks(path, tomogram_sizes=given).xyz(), [[55, 55, 55]])


def test_subtomogram_frames_turn_shifts_and_angles(tmp_path: Path):
    # RELION's matrix of tilt 90 takes x to z and z to -x, so a shift of 4 along z is one of -4 along x; and
    # a particle with no angles of its own has those of its frame.
    frame = {"rlnTomoSubtomogramRot": "0", "rlnTomoSubtomogramTilt": "90", "rlnTomoSubtomogramPsi": "0"}
    own = {"rlnAngleRot": "0", "rlnAngleTilt": "0", "rlnAnglePsi": "0"}
    shift = {"rlnOriginXAngst": "0", "rlnOriginYAngst": "0", "rlnOriginZAngst": "4"}
    picks = read_picks(star(tmp_path / "p.star", {"rlnTomoName": "a", **PIXEL, **frame, **own, **shift}), spacing=1)
    np.testing.assert_allclose(picks.xyz(), [[14, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(picks.euler(), [[0, 90, 0]], atol=1e-6)


def test_csv_is_the_submission_form(tmp_path: Path):
    path = tmp_path / "picks.csv"
    write_picks(path, Picks.of("TS_5_4", "ribosome", [[1234.56789, 0.1, 2]], 0.123456789))
    assert path.read_text().splitlines() == [
        "id,experiment,particle_type,x,y,z,score",
        "0,TS_5_4,ribosome,1234.5679,0.1000,2.0000,0.123457",
    ]


def test_csv_truth_form(tmp_path: Path):
    path = tmp_path / "truth.csv"
    path.write_text("run,object,x,y,z\n001,NA,1,2,3.5\n")
    picks = read_picks(path)
    assert (picks.runs, picks.objects) == (["001"], ["NA"])
    np.testing.assert_array_equal(picks.xyz(), [[1, 2, 3.5]])
    np.testing.assert_array_equal(picks.scores(), [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad\.csv is empty"),
        ("id,experiment,x,y,z\n0,a,1,2,3\n", "no column particle_type or object; it has: id, experiment, x, y, z"),
        ("run,object,x,y\na,b,1,2\n", "no column z"),
        ("run,object,x,y,z\na,b,1,2,3\na,b,1,two,3\n", "row 2: y is 'two', not a finite number"),
        ("run,object,x,y,z\na,b,1,2,\n", "row 1: z is ''"),
        ("run,object,x,y,z\na,b,1,2\n", "row 1: z is ''"),
        ("run,object,x,y,z\na,b,1,2,inf\n", "row 1: z is 'inf'"),
        ("run,object,x,y,z,score\na,b,1,2,3,nan\n", "row 1: score is 'nan'"),
        ("run,object,x,y,z\n,b,1,2,3\n", "row 1: no run"),
        ("run,object,x,y,z\na,b,1,2,3,4,5\n", r"cannot read .*bad\.csv as CSV"),
        ("run,object,x,y,z\na,b,1,2,3\na,b,1,2,3,4,5\n", r"cannot read .*bad\.csv as CSV"),
        ("run,object,x,y,z,rot\na,b,1,2,3,4\n", "rot, tilt and psi together"),
    ],
)
def test_bad_csv_says_where(text, message, tmp_path: Path):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_picks(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no STAR table"),
        ("run,object,x\n", "holds no STAR table"),
        ("data_particles\n\nloop_\n_rlnTomoName #1\na\n", "holds no picks"),
        ("data_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\na b c d\n", "cannot read"),
    ],
)
def test_bad_star_says_so(text, message, tmp_path: Path):
    path = tmp_path / "bad.star"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_picks(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rlnTomoName": "a", **PIXEL}, "pass --voxel-spacing"),
        ({"rlnTomoName": "a", **PIXEL, "rlnCoordinateY": "n/a"}, "row 1: rlnCoordinateY is 'n/a'"),
        (PIXEL, "neither rlnTomoName nor rlnMicrographName"),
        ({"rlnTomoName": "a", **{c: v for c, v in PIXEL.items() if c != "tomopickObject"}}, "which object"),
    ],
)
def test_star_that_lacks_something(columns, message, tmp_path: Path):
    path = star(tmp_path / "p.star", columns)
    with pytest.raises(DataError, match=message):
        read_picks(path, spacing=None if "voxel" in message else 1.0)


@pytest.mark.parametrize("name", ["picks.txt", "picks"])
def test_unknown_extension(name, tmp_path: Path):
    with pytest.raises(DataError, match=r"\.csv, \.star"):
        picks_format(tmp_path / name)


@pytest.mark.parametrize("name", ["a#b", 'a"b', "a\tb"])
def test_names_that_star_cannot_carry_are_refused_and_the_old_file_stays(name, tmp_path: Path):
    path = tmp_path / "picks.star"
    path.write_text("old")
    with pytest.raises(DataError, match="no place in a STAR file"):
        write_picks(path, Picks.of(name, "b", [[1, 2, 3]]), spacing=1)
    assert path.read_text() == "old"


def test_star_without_a_size_says_what_to_pass(tmp_path: Path):
    with pytest.raises(DataError, match="--voxel-spacing"):
        write_picks(tmp_path / "p.star", Picks.of("a", "b", [[1, 2, 3]]))
    with pytest.raises(DataError, match="size of tomogram 'a'"):
        write_picks(tmp_path / "p.star", Picks.of("a", "b", [[1, 2, 3]]), tomogram_sizes={})


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_missing_file_and_folder(form, tmp_path: Path):
    with pytest.raises(DataError, match="cannot read" if form.read else "is not read"):
        read_picks(tmp_path / f"none{form.extension}")
    with pytest.raises(DataError, match="cannot write"):
        write_picks(tmp_path / "none" / f"p{form.extension}", Picks.of("a", "b", [[1, 2, 3]]), spacing=1)


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_full_disk_keeps_the_old_file(form, tmp_path: Path, fill_disk):
    path = tmp_path / f"picks{form.extension}"
    picks = two_runs() if form.several else two_runs().where("TS_5_4")
    write_picks(path, picks, spacing=10)
    before = path.read_bytes()
    fill_disk(path)
    with pytest.raises(DataError, match="old file is kept"):
        write_picks(path, Picks.join([picks] * 20), spacing=10)
    assert path.read_bytes() == before
