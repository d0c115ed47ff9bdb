import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from tomopick.errors import DataError
from tomopick.io.orientation import rotation_from_euler
from tomopick.io.project import Project, create_project, open_project
from tomopick.objects import CZII_OBJECTS, ParticleObject
from tomopick.picks import Picks

OBJECTS = (*CZII_OBJECTS[:2], ParticleObject(name="blob", radius=40, label=7))
TRUTH = Picks.join(
    [Picks.of("TS_1", "blob", [[10, 20, 30], [40, 50, 60.5]]), Picks.of("TS_2", "apo-ferritin", [[1, 2, 3]])]
)


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, 12, 15)).astype(np.float32)


@pytest.fixture
def project(tmp_path: Path, volume: np.ndarray) -> Project:
    made = create_project(tmp_path / "config.json", OBJECTS)
    for run in ("TS_1", "TS_2"):
        made.add_tomogram(run, "wbp", 10.012, volume)
    made.add_picks(TRUTH, "curator", "1")
    return made


def again(project: Project) -> Project:
    return open_project(project.path)


def assert_same(found: Picks, wanted: Picks) -> None:
    order = ["run", "object", "x"]
    one, other = (p.table.sort_values(order).reset_index(drop=True) for p in (found, wanted))
    assert one[["run", "object"]].equals(other[["run", "object"]])
    np.testing.assert_allclose(one[["x", "y", "z", "score"]], other[["x", "y", "z", "score"]], atol=1e-9)


def test_what_was_put_in_comes_out(project: Project, volume: np.ndarray):
    opened = again(project)
    assert opened.runs == ["TS_1", "TS_2"]
    assert [(o.name, o.radius, o.weight, o.label, o.color) for o in opened.objects] == [
        (o.name, o.radius, o.weight, o.label, o.color) for o in OBJECTS
    ]
    assert opened.tomogram_kinds("TS_1") == [(10.012, "wbp")]
    tomogram = opened.tomogram("TS_1", "wbp", 10)
    assert (tomogram.name, tomogram.kind, tomogram.spacing) == ("TS_1", "wbp", 10.012)
    np.testing.assert_array_equal(tomogram.read((0, 0, 0), tomogram.shape), volume)
    assert_same(opened.picks(), TRUTH)


def test_the_tomograms_own_spacing_counts(project: Project, volume: np.ndarray):
    project.add_tomogram("TS_1", "denoised", 10.0, volume)
    folder = project.path.parent / "ExperimentRuns/TS_1/VoxelSpacing10.000/denoised.zarr"
    metadata = json.loads((folder / ".zattrs").read_text())
    metadata["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = [1.0012] * 3
    for axis in metadata["multiscales"][0]["axes"]:
        axis["unit"] = "nanometer"
    (folder / ".zattrs").write_text(json.dumps(metadata))
    assert again(project).tomogram("TS_1", "denoised", 10).spacing == pytest.approx(10.012)


def test_tomograms_are_chosen_by_type_and_spacing(project: Project, volume: np.ndarray):
    project.add_tomogram("TS_1", "wbp", 5.0, volume * 2)
    project.add_tomogram("TS_1", "denoised", 20.0, volume * 3)
    opened = again(project)
    first = volume[0, 0, 0]
    assert opened.tomogram("TS_1", "wbp", 10)[:1, :1, :1] == first
    assert opened.tomogram("TS_1", "wbp", 5)[:1, :1, :1] == first * 2
    assert opened.tomogram("TS_1", "wbp")[:1, :1, :1] == first * 2
    for kind, spacing in [("wbp", 20), ("wbp", 10.2), ("isonet", 10), ("denoised", 10)]:
        with pytest.raises(DataError, match=r"it has: wbp at 5 A, wbp at 10.012 A, denoised at 20 A"):
            opened.tomogram("TS_1", kind, spacing)
    with pytest.raises(DataError, match="no run 'TS_9'; it has: TS_1, TS_2"):
        opened.tomogram("TS_9", "wbp", 10)


def test_a_damaged_tomogram_is_one_clear_error(project: Project):
    (project.path.parent / "ExperimentRuns/TS_1/VoxelSpacing10.012/wbp.zarr/.zgroup").unlink()
    with pytest.raises(DataError, match=r"tomogram wbp at 10.012 A of run TS_1"):
        again(project).tomogram("TS_1", "wbp", 10)


FOUND = Picks.join(
    [
        Picks.of("TS_1", "blob", [[1, 2, 3], [4, 5, 6]], [0.25, 0.875], [[10, 20, 30], [0, 0, 0]]),
        Picks.of("TS_1", "apo-ferritin", [[7, 8, 9]], 0.5, [[-170, 90, 45]]),
    ]
)


def test_scores_and_angles_survive_a_reopened_project(project: Project):
    project.write_picks(FOUND, "my_model v2")
    found = again(project).picks(user="tomopick", session="my-model-v2")
    assert_same(found, FOUND)
    order = np.argsort(found.xyz()[:, 0])
    np.testing.assert_allclose(rotation_from_euler(found.euler()[order]), rotation_from_euler(FOUND.euler()), atol=1e-9)


def test_copick_itself_reads_the_same(project: Project):
    import copick

    project.write_picks(FOUND, "model")
    (stored,) = copick.from_file(str(project.path)).get_run("TS_1").get_picks("apo-ferritin", user_id="tomopick")
    xyz, transforms = stored.numpy()
    np.testing.assert_array_equal(xyz, [[7, 8, 9]])
    np.testing.assert_array_equal(stored.scores(), [0.5])
    np.testing.assert_allclose(transforms[0, :3, :3], rotation_from_euler([-170, 90, 45])[0])
    table = stored.df(format="relion", tomogram_center=(0, 0, 0))
    np.testing.assert_allclose(table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]], [[-170, 90, 45]], atol=1e-9)
    assert stored.trust_orientation
    (truth,) = copick.from_file(str(project.path)).get_run("TS_1").get_picks("blob", user_id="curator")
    assert not truth.points[0].transformation[0, 1:].any()
    assert truth.load().trust_orientation is False


def test_shifts_of_refined_picks_are_part_of_their_place(project: Project):
    import copick

    transforms = np.tile(np.eye(4), (1, 1, 1))
    transforms[0, :3, 3] = [1, -2, 3]
    stored = copick.from_file(str(project.path)).get_run("TS_2").new_picks("blob", "9", "refined")
    stored.from_numpy(np.array([[100.0, 100, 100]]), transforms)
    picks = again(project).picks(user="refined")
    np.testing.assert_allclose(picks.xyz(), [[101, 98, 103]])
    assert not picks.has_angles


def everything(project: Project) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in (project.path.parent / "ExperimentRuns").rglob("Picks/*")}


def test_an_object_is_annotated_where_there_is_a_set_of_it_an_empty_one_too(project: Project):
    project.add_picks(Picks.of("TS_1", "beta-amylase", [[1, 2, 3]]), "other", "2")
    project.write_picks(Picks.empty(), "model", runs=["TS_2"], objects=["beta-amylase"])
    reopened = again(project)
    both = {"apo-ferritin", "blob"}
    assert TRUTH.where("TS_2").objects == ["apo-ferritin"]
    assert [reopened.annotated(run) for run in ("TS_1", "TS_2")] == [both | {"beta-amylase"}, both]
    assert [reopened.annotated(run, user="other") for run in ("TS_1", "TS_2")] == [{"beta-amylase"}, set()]
    assert reopened.annotated("TS_1", session="1") == both
    with pytest.raises(DataError, match="no run 'TS_3'"):
        reopened.annotated("TS_3")


def test_only_tomopicks_own_sets_are_written(project: Project):
    before = everything(project)
    project.write_picks(FOUND, "model")
    after = everything(project)
    assert {p: after[p] for p in before} == before
    assert {p.name for p in set(after) - set(before)} == {
        "tomopick_model_blob.json",
        "tomopick_model_apo-ferritin.json",
    }
    assert_same(again(project).picks(), TRUTH)


def test_a_set_is_kept_unless_overwritten(project: Project):
    project.write_picks(FOUND, "model")
    changed = Picks.of("TS_1", "blob", [[100, 100, 100]], 0.1)
    done = again(project).write_picks(changed, "model", runs=["TS_1", "TS_2"])
    assert [(d.run, d.object, d.count, d.kept) for d in done] == [("TS_1", "blob", 1, True), ("TS_2", "blob", 0, False)]
    assert_same(again(project).picks(user="tomopick"), FOUND)
    assert not any(d.kept for d in again(project).write_picks(changed, "model", overwrite=True))
    assert_same(again(project).picks(user="tomopick", objects=["blob"]), changed)


def test_nothing_found_is_on_record(project: Project):
    project.write_picks(Picks.empty(), "model", runs=["TS_2"], objects=["blob"])
    stored = json.loads((project.path.parent / "ExperimentRuns/TS_2/Picks/tomopick_model_blob.json").read_text())
    assert stored["points"] == []
    assert len(again(project).picks(user="tomopick")) == 0
    (done,) = again(project).write_picks(Picks.of("TS_2", "blob", [[1, 2, 3]]), "model")
    assert done.kept


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        (Picks.of("TS_1", "unicorn", [[1, 2, 3]]), "unknown object 'unicorn'; known: apo-ferritin"),
        (Picks.of("TS_9", "blob", [[1, 2, 3]]), "no run 'TS_9'"),
        (Picks.of("../TS_1", "blob", [[1, 2, 3]]), "no run"),
    ],
)
def test_unknown_names_write_nothing(project: Project, picks, message):
    before = everything(project)
    with pytest.raises(DataError, match=message):
        project.write_picks(Picks.join([FOUND, picks]), "model")
    assert everything(project) == before


def test_the_truth_must_be_one_set(project: Project):
    project.add_picks(Picks.of("TS_1", "blob", TRUTH.where("TS_1").xyz()[::-1]), "student", "2")
    assert len(again(project).picks(run="TS_1")) == 2  # the same picks in another order
    project.add_picks(Picks.of("TS_1", "blob", [[10, 20, 30]]), "other", "3")
    opened = again(project)
    with pytest.raises(DataError, match="several sets of blob; choose one: --user curator --session 1, or --user oth"):
        opened.picks()
    assert len(opened.picks(user="other")) == 1
    assert len(opened.picks(session="1")) == 3
    assert len(opened.picks(run="TS_2")) == 1
    with pytest.raises(DataError, match="unknown object"):
        opened.picks(objects=["unicorn"])


def test_a_review_replaces_only_what_its_user_said_before(project: Project):
    first, then = Picks.of("TS_1", "blob", [[1, 2, 3], [4, 5, 6]]), Picks.of("TS_1", "apo-ferritin", [[7, 8, 9]])
    for said in (first, then):
        again(project).write_review(said, "alice", "TS_1")
        assert_same(again(project).picks(user="alice", session="review"), said)
    assert_same(again(project).picks(user="curator"), TRUTH)
    with pytest.raises(DataError, match="give your own user id"):
        again(project).write_review(first, "tomopick", "TS_1")


def test_full_disk_keeps_the_old_picks(project: Project, fill_disk):
    project.write_picks(FOUND, "model")
    before = everything(project)
    fill_disk(project.path.parent / "ExperimentRuns/TS_1/Picks/tomopick_model_blob.json")
    with pytest.raises(DataError, match="old file is kept"):
        project.write_picks(FOUND.where(name="blob"), "model", overwrite=True)
    assert everything(project) == before


def test_other_storage_than_local_files(tmp_path: Path, project: Project, volume: np.ndarray):
    import fsspec

    memory = fsspec.filesystem("memory")
    config = json.loads(project.path.read_text()) | {"overlay_root": "memory://tomopick-test", "overlay_fs_args": {}}
    path = tmp_path / "remote.json"
    path.write_text(json.dumps(config))
    try:
        open_project(path).add_tomogram("TS_1", "wbp", 10.012, volume)
        open_project(path).write_picks(FOUND, "model")
        opened = open_project(path)
        np.testing.assert_array_equal(opened.tomogram("TS_1", "wbp", 10)[2:5, :, 3:], volume[2:5, :, 3:])
        assert_same(opened.picks(user="tomopick"), FOUND)
    finally:
        memory.rm("/tomopick-test", recursive=True)


def test_read_only_data_below_a_project_of_ones_own(project: Project, tmp_path: Path, volume: np.ndarray):
    config = json.loads(project.path.read_text())
    config |= {"static_root": config["overlay_root"], "overlay_root": f"local://{tmp_path}/mine"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(config))
    before = everything(project)
    open_project(path).write_picks(FOUND, "model", overwrite=True)
    assert everything(project) == before
    opened = open_project(path)
    assert_same(opened.picks(), TRUTH)
    assert_same(opened.picks(user="tomopick"), FOUND)
    np.testing.assert_array_equal(opened.tomogram("TS_2", "wbp", 10)[2:, :5, :], volume[2:, :5])


def test_a_tomogram_is_not_overwritten(project: Project, volume: np.ndarray):
    with pytest.raises(DataError, match=r"already has a tomogram 'wbp' at 10.012 A"):
        again(project).add_tomogram("TS_1", "wbp", 10.012, volume)
    np.testing.assert_array_equal(again(project).tomogram("TS_1", "wbp")[2:, :5, :], volume[2:, :5])


def test_a_tomogram_that_fails_leaves_nothing(project: Project, volume: np.ndarray, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Group, "create_dataset", full)
    monkeypatch.setattr("ome_zarr.writer.write_multiscale", full)
    with pytest.raises(DataError, match="No space left"):
        project.add_tomogram("TS_2", "denoised", 10.012, volume)
    assert again(project).tomogram_kinds("TS_2") == [(10.012, "wbp")]


@pytest.mark.parametrize("run", ["", ".", "..", "../up", "a/b", "a\\b", ".hidden", "a*", "a\nb"])
def test_runs_stay_inside_the_project(project: Project, run: str, volume: np.ndarray):
    with pytest.raises(DataError, match="cannot be a run's name"):
        project.add_tomogram(run, "wbp", 10, volume)


def config_file(folder: Path, objects: list[dict[str, object]]) -> Path:
    path = folder / "c.json"
    path.write_text(json.dumps({"pickable_objects": objects, "overlay_root": f"local://{folder}/o"}))
    return path


def test_objects_of_a_sparse_configuration(tmp_path: Path):
    path = config_file(
        tmp_path,
        [
            {"name": "membrane", "is_particle": False},
            {"name": "ribosome", "is_particle": True, "radius": 150},
            {"name": "thyroglobulin", "is_particle": True, "radius": 130},
        ],
    )
    objects = open_project(path, weights={"ribosome": 3}).objects
    assert [(o.name, o.weight) for o in objects] == [("ribosome", 3), ("thyroglobulin", 2)]
    assert len({o.label for o in objects}) == 2
    with pytest.raises(DataError, match="no object unicorn"):
        _ = open_project(path, weights={"unicorn": 3}).objects


def test_an_object_without_radius_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="'ribosome' has no radius"):
        _ = open_project(config_file(tmp_path, [{"name": "ribosome", "is_particle": True}])).objects


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", 'no "pickable_objects"'),
        ("{}", 'no "pickable_objects"'),
        ('{"pickable_objects": [], "overlay_root": 3}', "overlay_root"),
        (
            '{"pickable_objects": [{"name": "a_b", "is_particle": true}], "overlay_root": "x"}',
            "pickable_objects.0.name",
        ),
        ('{"pickable_objects": [], "config_type": "floppy"}', "floppy"),
        ('{"pickable_objects": [], "overlay_root": "nosuch://x"}', "nosuch"),
    ],
)
def test_what_is_not_a_project(text, message, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        open_project(path)


def test_missing_project(tmp_path: Path):
    with pytest.raises(DataError, match="cannot open the project"):
        open_project(tmp_path / "none.json")


def test_create_keeps_what_is_there_and_wants_copick_names(project: Project, tmp_path: Path):
    with pytest.raises(DataError, match="is there already"):
        create_project(project.path, OBJECTS)
    with pytest.raises(DataError, match="call it 'a-b'"):
        create_project(tmp_path / "new" / "config.json", [ParticleObject(name="a_b", radius=3)])
    with pytest.raises(DataError, match="no particle objects"):
        create_project(tmp_path / "new" / "config.json", [])


@pytest.mark.parametrize("name", ["", "___", "...", "/"])
def test_a_model_needs_a_name(project: Project, name: str):
    with pytest.raises(DataError, match="cannot be a name in a copick project"):
        project.write_picks(FOUND, name)


def test_a_project_that_was_moved_finds_its_runs_beside_its_file(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "project"
    folder.mkdir(parents=True)
    for one in list(tmp_path.iterdir()):
        if one.name != "elsewhere":
            one.rename(folder / one.name)
    gone = tmp_path / "gone"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"overlay_root": f"local://{gone}"}))
    with pytest.warns(UserWarning, match=rf"runs are in {gone}, which is not there; taken from {folder}"):
        moved = open_project(folder / "config.json")
    assert moved.runs == ["TS_1", "TS_2"]
    moved.add_picks(TRUTH, "another", "1")
    assert not gone.exists()
    assert (folder / "ExperimentRuns" / "TS_1" / "Picks" / "another_1_blob.json").is_file()


def test_moved_folders_are_told_apart_by_their_names(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    (tmp_path / "ExperimentRuns").rename(tmp_path / "moved" / "ExperimentRuns")
    folder.rename(tmp_path / "kept")
    config = json.loads(project.path.read_text()) | {
        "static_root": "local:///nowhere/kept",
        "overlay_root": "local:///nowhere/added",
        "overlay_fs_args": {"auto_mkdir": True},
    }
    project.path.write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="taken from .*kept"):
        moved = open_project(project.path)
    assert moved.runs == ["TS_1", "TS_2"]
    moved.add_picks(TRUTH, "another", "1")
    assert (tmp_path / "added" / "ExperimentRuns" / "TS_1" / "Picks" / "another_1_blob.json").is_file()


def test_folders_beside_the_file_do_not_replace_those_that_are_there(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "ExperimentRuns" / "TS_9").mkdir(parents=True)
    config = json.loads(project.path.read_text()) | {
        "static_root": f"local://{other}",
        "overlay_root": f"local://{tmp_path / 'not_yet'}",
    }
    project.path.write_text(json.dumps(config))
    assert open_project(project.path).runs == ["TS_9"]
