"""`tomopick average`: volumes that other programs read, and a picture."""

from __future__ import annotations

import mrcfile
import numpy as np
from scipy.ndimage import affine_transform

import tomopick as tp
from tomopick.io.orientation import rotation_from_euler
from tomopick.subtomograms import complete, subtomograms


def test_means_and_stacks_are_those_of_the_subtomograms(succeed, phantom, tmp_path):
    words = ("average", phantom, "--picks", phantom / "truth.csv", "--out", tmp_path / "means", "--box", 130)
    outcome = succeed(*words, "--stacks", "--runs", "SIM_0,SIM_1")
    project = tp.open_project(phantom / "config.json")
    truth = tp.read_picks(phantom / "truth.csv").where(name="apo-ferritin")
    expected = []
    for run in ("SIM_0", "SIM_1"):
        tomogram = project.tomogram(run, "wbp")
        expected += list(subtomograms(tomogram, complete(tomogram, truth, 14), 14))
    with mrcfile.open(tmp_path / "means" / "apo-ferritin_stack.mrc") as file:
        assert file.is_volume_stack()
        assert np.allclose(file.voxel_size.tolist(), project.tomogram("SIM_0", "wbp").spacing)
        np.testing.assert_array_equal(file.data, np.stack(expected))
    with mrcfile.open(tmp_path / "means" / "apo-ferritin.mrc") as file:
        np.testing.assert_allclose(file.data, np.mean(expected, axis=0), atol=1e-6)
    assert (tmp_path / "means" / "averages.png").read_bytes().startswith(b"\x89PNG")
    assert f"apo-ferritin {len(expected)}".split() == next(
        line.split()[:2] for line in outcome.out.splitlines() if line.strip().startswith("apo-ferritin")
    )


def test_aligned_means_come_with_the_angles_of_their_picks(succeed, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr("tomopick.alignment.ROUNDS", (144, 144))
    words = ("average", phantom, "--picks", phantom / "truth.csv", "--out", tmp_path / "means", "--box", 130)
    outcome = succeed(*words, "--align", "--runs", "SIM_0,SIM_1")
    turned = tp.read_picks(tmp_path / "means" / "aligned.csv").where(name="apo-ferritin")
    assert turned.has_angles
    assert "turned onto one another" in " ".join(outcome.out.split())
    # the plain mean of the same subtomograms, turned back by the angles in the file, or the wrong way
    project = tp.open_project(phantom / "config.json")
    right, wrong = np.zeros((13, 13, 13)), np.zeros((13, 13, 13))
    for run in turned.runs:
        here = turned.where(run=run)
        boxes = subtomograms(project.tomogram(run, "wbp"), here, 14)
        for box, turn in zip(boxes, rotation_from_euler(here.euler()), strict=True):
            zyx = turn[::-1, ::-1]
            for total, way in ((right, zyx), (wrong, zyx.T)):
                total += affine_transform(box[1:, 1:, 1:], way, offset=6 - way @ np.full(3, 6), order=1)
    with mrcfile.open(tmp_path / "means" / "apo-ferritin_aligned.mrc") as file:
        mean = file.data[1:, 1:, 1:]
    ball = sum(np.square(np.arange(-6, 7)).reshape(shape) for shape in ((-1, 1, 1), (-1, 1), -1)) <= 36
    alike = [np.corrcoef(mean[ball], total[ball])[0, 1] for total in (right, wrong)]
    assert alike[0] > 0.7
    assert alike[0] > alike[1] + 0.1


def test_an_object_without_a_whole_box_is_named(succeed, phantom, tmp_path):
    tomogram = tp.open_project(phantom / "config.json").tomogram("SIM_0", "wbp")
    middle = [[n * tomogram.spacing / 2 for n in tomogram.shape[::-1]]]
    parts = [tp.Picks.of("SIM_0", "apo-ferritin", middle), tp.Picks.of("SIM_0", "ribosome", [[0, 0, 0]])]
    tp.write_picks(tmp_path / "picks.csv", tp.Picks.join(parts))
    outcome = succeed("average", phantom, "--picks", tmp_path / "picks.csv", "--out", tmp_path / "means", "--box", 130)
    assert [path.stem for path in (tmp_path / "means").glob("*.mrc")] == ["apo-ferritin"]
    assert "no pick has its whole box" in outcome.err
    assert "ribosome (1)" in outcome.err


def test_what_cannot_be_averaged_is_refused(refuse, phantom, tmp_path):
    (tmp_path / "file").write_text("")
    truth = tp.read_picks(phantom / "truth.csv")
    tp.write_picks(tmp_path / "other.csv", tp.Picks(truth.table.assign(run="elsewhere")))
    words = ("average", phantom, "--out", tmp_path / "means")
    refuse(*words, "--picks", tmp_path / "other.csv", says=("no pick", "whole"))
    refuse(*words, "--picks", phantom, says=("no picks by user 'tomopick'",))
    refuse("average", phantom, "--picks", phantom / "truth.csv", "--out", tmp_path / "file", says=("cannot write",))
    assert not (tmp_path / "means").exists()
