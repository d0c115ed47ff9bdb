import warnings
from pathlib import Path

import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.importing import import_project, parse_object
from tomopick.io.picks import TomogramSize, write_picks
from tomopick.io.project import open_project
from tomopick.io.tomograms import write_mrc
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

SPACING = 10.012
SHAPE = (9, 12, 15)
OBJECTS = dict([parse_object("80S:ribosome=150"), parse_object("70S:ribosome=150"), parse_object("blob=40")])
PICKS = Picks.join(
    [
        Picks.of("TS_1", "80S", [[100, 50, 30], [140.17, 110.13, 80.1]]),
        Picks.of("TS_2", "blob", [[0, 0, 0]]),
        Picks.of("TS_2", "70S", [[55, 66, 77.7]]),
    ]
)


def volumes() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {run: generator.normal(size=SHAPE).astype(np.float32) for run in ("TS_1", "TS_2", "TS_3")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tomograms"
    made.mkdir()
    for (run, volume), ending in zip(volumes().items(), (".mrc", ".rec", ".mrc"), strict=True):
        write_mrc(made / f"{run}.mrc", volume, SPACING)
        (made / f"{run}.mrc").rename(made / f"{run}{ending}")
    return made


def assert_imported(out: Path, kind: str = "wbp") -> None:
    project = open_project(out / "config.json")
    assert project.runs == ["TS_1", "TS_2", "TS_3"]
    for run, volume in volumes().items():
        tomogram = project.tomogram(run, kind)
        assert tomogram.spacing == pytest.approx(SPACING, abs=1e-4)
        np.testing.assert_array_equal(tomogram.read((0, 0, 0), SHAPE), volume)
    assert [(o.name, o.radius, o.weight, o.label) for o in project.objects] == [
        ("ribosome", 150, 1, 1),
        ("blob", 40, 1, 2),
    ]
    picks = project.picks()
    for run, name, source in [("TS_1", "ribosome", "80S"), ("TS_2", "blob", "blob"), ("TS_2", "ribosome", "70S")]:
        np.testing.assert_allclose(picks.where(run, name).xyz(), PICKS.where(run, source).xyz(), atol=1e-3)
    assert len(picks) == len(PICKS)
    assert sorted(p.name for p in out.iterdir()) == ["ExperimentRuns", "config.json"]


def centred_star(path: Path) -> None:
    write_picks(path, PICKS, tomogram_sizes={run: TomogramSize(SHAPE[::-1], SPACING) for run in volumes()})


@pytest.mark.parametrize("form", ["csv", "pixels", "pixels of unsaid size", "centred"])
def test_a_folder_of_tomograms(form: str, folder: Path, tmp_path: Path):
    path = tmp_path / ("picks.csv" if form == "csv" else "picks.star")
    if form == "centred":
        centred_star(path)
    else:
        write_picks(path, PICKS, spacing=SPACING)
    if form == "pixels of unsaid size":
        path.write_text(path.read_text().replace("rlnPixelSize", "rlnVoltage"))
    steps: list[tuple[int, int, str]] = []
    import_project(tmp_path / "out", folder, path, OBJECTS, progress=lambda *step: steps.append(step))
    assert_imported(tmp_path / "out")
    assert steps == [(1, 3, "TS_1"), (2, 3, "TS_2"), (3, 3, "TS_3")]


RELION = """
data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoTomogramBinning #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
_{column} #7
"""


def relion_project(folder: Path, home: Path, column: str = "rlnTomoReconstructedTomogram") -> Path:
    """A RELION 5 project whose tomograms are binned by 4 from 62 x 49 x 37 tilt-series pixels of 2.503 A."""
    job = home / "Tomograms" / "job006"
    (job / "tomograms").mkdir(parents=True)
    lines = []
    for run in volumes():
        (file,) = folder.glob(f"{run}.*")
        file.rename(job / "tomograms" / f"rec_{run}.mrc")
        lines.append(f"{run} 2.503 4.0 62 49 37 Tomograms/job006/tomograms/rec_{run}.mrc")
    star = job / "tomograms.star"
    star.write_text(RELION.format(column=column) + "\n".join(lines) + "\n")
    return star


@pytest.mark.parametrize("form", ["pixels", "centred"])
def test_a_relion_project(form: str, folder: Path, tmp_path: Path):
    star = relion_project(folder, tmp_path / "relion")
    picks = tmp_path / "particles.star"
    if form == "centred":
        write_picks(picks, PICKS, tomogram_sizes={r: TomogramSize((62, 49, 37), 2.503) for r in volumes()})
        text = picks.read_text()
        for axis in "XYZ":  # as RELION writes it, without the sizes
            text = text.replace(f"rlnTomoSize{axis}", f"rlnUnknown{axis}")
        picks.write_text(text)
    else:
        write_picks(picks, PICKS, spacing=2.503)
        picks.write_text(picks.read_text().replace("rlnPixelSize", "rlnVoltage"))
    import_project(tmp_path / "out", star, picks, OBJECTS)
    assert_imported(tmp_path / "out")


def test_denoised_tomograms_of_a_relion_project(folder: Path, tmp_path: Path):
    star = relion_project(folder, tmp_path / "relion", "rlnTomoReconstructedTomogramDenoised")
    with pytest.raises(DataError, match=r"no column rlnTomoReconstructedTomogram for .*it has: .*Denoised"):
        import_project(tmp_path / "out", star, objects=OBJECTS)
    project = import_project(tmp_path / "out", star, objects=OBJECTS, kind="denoised")
    assert project.tomogram_kinds("TS_2") == [(pytest.approx(SPACING), "denoised")]


def test_one_file_and_one_object_need_no_names_in_the_picks(folder: Path, tmp_path: Path):
    picks = tmp_path / "p.csv"
    picks.write_text("run,x,y,z\nTS_1,1,2,3\n")
    project = import_project(tmp_path / "out", folder / "TS_1.mrc", picks, dict([parse_object("vault=200")]))
    assert project.picks().objects == ["vault"]


def test_objects_of_the_challenge_are_known(folder: Path, tmp_path: Path):
    picks = tmp_path / "p.csv"
    write_picks(picks, Picks.of("TS_1", "thyroglobulin", [[1, 2, 3]]))
    project = import_project(tmp_path / "out", folder, picks)
    assert [(o.name, o.radius, o.weight) for o in project.objects] == [("thyroglobulin", 130, 2)]


def test_a_given_spacing_is_the_projects(folder: Path, tmp_path: Path):
    picks = tmp_path / "p.csv"
    write_picks(picks, Picks.of("TS_1", "blob", [[70, 50, 40]]))
    project = import_project(tmp_path / "out", folder, picks, OBJECTS, voxel_spacing=5)
    assert project.tomogram("TS_1", "wbp").spacing == 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "TS_1,80S,445.3,50,30",
            r"outside run 'TS_1': ribosome at x, y, z = 445\.3, 50\.0, 30\.0 A, .* 150 x 120 x 90 A",
        ),
        ("TS_1,80S,10,-305.1,30", "outside run 'TS_1'"),
        ("TS_1,80S,10,5,420.2", "outside run 'TS_1'"),
        ("TS_9,80S,10,5,12", "picks in TS_9, but there is no such tomogram; there are: TS_1, TS_2, TS_3"),
        ("TS_1,unicorn,10,5,12", 'unicorn, of unknown radius; say --object "unicorn=RADIUS"'),
        ("TS_1,ribosome,10,5,12", "ribosome, of unknown radius"),
    ],
)
def test_picks_that_do_not_fit_write_nothing(row: str, message: str, folder: Path, tmp_path: Path):
    picks = tmp_path / "p.csv"
    picks.write_text(f"run,object,x,y,z\nTS_2,blob,1,2,3\n{row}\n")
    with pytest.raises(DataError, match=message):
        import_project(tmp_path / "out", folder, picks, OBJECTS)
    assert not (tmp_path / "out").exists()


def test_picks_at_the_edge_are_inside(folder: Path, tmp_path: Path):
    picks = tmp_path / "p.csv"
    picks.write_text("run,object,x,y,z\nTS_2,blob,-5,-5,-5\nTS_2,blob,145.1,115.1,85.1\n")
    assert len(import_project(tmp_path / "out", folder, picks, OBJECTS).picks()) == 2


def test_a_failure_half_way_leaves_no_project(folder: Path, tmp_path: Path):
    bad = volumes()["TS_3"]
    bad[4, 4, 4] = np.nan
    (folder / "TS_3.mrc").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_mrc(folder / "TS_3.mrc", bad, SPACING)
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"TS_3.*NaN"):
        import_project(out, folder, objects=OBJECTS)
    assert [p.name for p in out.iterdir()] == ["notes.txt"]
    with pytest.raises(DataError, match=r"TS_3.*NaN"):
        import_project(tmp_path / "new", folder, objects=OBJECTS)
    assert not (tmp_path / "new").exists()


def test_a_project_is_not_overwritten(folder: Path, tmp_path: Path):
    import_project(tmp_path / "out", folder, objects=OBJECTS)
    with pytest.raises(DataError, match="holds a project already"):
        import_project(tmp_path / "out", folder, objects=OBJECTS)


def test_names_in_files_cannot_leave_the_project(folder: Path, tmp_path: Path):
    star = relion_project(folder, tmp_path / "relion")
    star.write_text(star.read_text().replace("TS_1 2.503", "../../TS_1 2.503"))
    with pytest.raises(DataError, match=r"'\.\./\.\./TS_1' cannot be a run's name"):
        import_project(tmp_path / "out", star, objects=OBJECTS)


def test_two_files_of_one_name(folder: Path, tmp_path: Path):
    write_mrc(folder / "TS_2.mrc", volumes()["TS_2"], SPACING)
    with pytest.raises(DataError, match="two tomograms called 'TS_2'"):
        import_project(tmp_path / "out", folder, objects=OBJECTS)


def test_a_tomogram_that_the_star_file_names_is_missing(folder: Path, tmp_path: Path):
    star = relion_project(folder, tmp_path / "relion")
    (star.parent / "tomograms" / "rec_TS_2.mrc").unlink()
    with pytest.raises(DataError, match=r"names the tomogram .*rec_TS_2.mrc, which is in none"):
        import_project(tmp_path / "out", star, objects=OBJECTS)


def test_tomograms_without_objects_or_picks(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no particle objects"):
        import_project(tmp_path / "out", folder)


@pytest.mark.parametrize(
    ("text", "source", "name", "radius"),
    [
        ("ribosome=150", "ribosome", "ribosome", 150),
        ("80S:ribosome=150.5", "80S", "ribosome", 150.5),
        (" a=b : c = 7", "a=b", "c", 7),
        ("data:1:c=7", "data:1", "c", 7),
    ],
)
def test_parse_object(text, source, name, radius):
    found, particle = parse_object(text)
    assert (found, particle.name, particle.radius) == (source, name, radius)


@pytest.mark.parametrize("text", ["", "ribosome", "=150", "ribosome=", "ribosome=-3", "a=nan", "a=inf", ":b=3", "a:=3"])
def test_parse_object_refuses(text):
    with pytest.raises(DataError, match="NAME=RADIUS"):
        parse_object(text)


def test_two_radii_for_one_object(folder: Path, tmp_path: Path):
    objects = {"a": ParticleObject(name="x", radius=3), "b": ParticleObject(name="x", radius=4)}
    with pytest.raises(DataError, match="'x' has two radii: 3 and 4"):
        import_project(tmp_path / "out", folder, objects=objects)
