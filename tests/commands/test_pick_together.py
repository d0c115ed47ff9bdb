"""`tomopick pick` with several models, turned tomograms and an expected precision: the same as from Python."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from test_pick_command import assert_same_picks

import tomopick as tp


@pytest.fixture(scope="module")
def folds(model, tmp_path_factory) -> Path:
    """The folder of a training of which two folds are there, whose models differ in what they take for background."""
    from tomopick.models.modelfile import save_model

    folder = tmp_path_factory.mktemp("runs") / "in_folds"
    for fold, change in ((2, -1.0), (10, 1.0)):
        network = tp.load_model(model)
        network.network.classifier[3].bias[-1] += change
        (folder / f"fold_{fold}").mkdir(parents=True)
        save_model(folder / f"fold_{fold}" / "model.safetensors", network)
    return folder


def together(files: list[Path], phantom: Path, **options: object) -> tp.Picks:
    models = [tp.load_model(file) for file in files]
    tomogram = tp.open_project(phantom / "config.json").tomogram("SIM_2", "wbp")
    return tp.pick(models, tomogram, stride=8, dtype="fp32", **options)


TOGETHER = ("--stride", 8, "--dtype", "fp32", "--runs", "SIM_2")


def test_a_folder_of_folds_picks_with_all_of_them(succeed, model, folds, phantom, tmp_path):
    files = [folds / f"fold_{n}" / "model.safetensors" for n in (2, 10)]
    succeed("pick", folds, phantom, "--out", tmp_path / "picks.csv", *TOGETHER)
    found = tp.read_picks(tmp_path / "picks.csv")
    assert len(found) > 3
    assert_same_picks(found, together(files, phantom), 5)
    succeed("pick", model, phantom, "--out", tmp_path / "one.csv", *TOGETHER)
    assert not np.array_equal(tp.read_picks(tmp_path / "one.csv").scores(), found.scores())


def test_models_are_added_and_weighted(succeed, model, folds, phantom, tmp_path):
    files = [model, *(folds / f"fold_{n}" / "model.safetensors" for n in (2, 10))]
    scores = []
    for name, words, weights in (("alike.csv", (), None), ("weighted.csv", ("--weights", "6,1"), (6, 1, 1))):
        succeed("pick", model, phantom, "--out", tmp_path / name, "--with", folds, *TOGETHER, *words)
        expected = together(files, phantom, weights=weights)
        assert_same_picks(tp.read_picks(tmp_path / name), expected, 5)
        scores.append(expected.scores())
    assert not np.array_equal(*scores)


def test_the_journal_tells_how_the_picks_were_made(succeed, model, folds, phantom, tmp_path):
    out = tmp_path / "picks.csv"
    words = ("--with", folds, "--weights", "3,1", "--augment", 2, "--threshold", 0.05, "--dtype", "auto")
    succeed("pick", model, phantom, "--out", out, *words, "--stride", 8, "--runs", "SIM_2")
    told = json.loads((tmp_path / "picks.csv.progress.json").read_text())
    files = [model, *(folds / f"fold_{n}" / "model.safetensors" for n in (2, 10))]
    assert [m["name"] for m in told["models"]] == ["first", "fold_2", "fold_10"]
    assert [m["sha256"] for m in told["models"]] == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    assert [m["share"] for m in told["models"]] == pytest.approx([0.6, 0.2, 0.2])
    assert [m["stride"] for m in told["models"]] == [8] * 3
    assert told["options"]["dtype"] in ("fp32", "bf16")
    assert (told["options"]["augment"], told["options"]["threshold"]) == (2, 0.05)
    assert told["counts"] == {"SIM_2": len(tp.read_picks(out))}


def test_other_models_weights_or_orientations_are_not_mixed_in_one_file(refuse, succeed, model, folds, lab, tmp_path):
    words = ("pick", folds, lab / "SIM_0.mrc", "--out", tmp_path / "picks.csv", "--stride", 8)
    succeed(*words, "--with", model, "--weights", "2,1")
    assert succeed(*words, "--with", model, "--weights", "4,2").out.count("finished before") == 1
    says = ("another model or other options", "--overwrite")
    for other in ((), ("--with", model), ("--with", model, "--weights", "1,2"), ("--with", folds, "--weights", "2,1")):
        refuse(*words, *other, says=says)
    refuse(*words, "--with", model, "--weights", "2,1", "--augment", 2, says=says)


def test_picks_of_several_models_go_into_the_project_under_one_name(succeed, model, folds, project, tmp_path):
    words = ("pick", folds, project, "--out", tmp_path / "picks.csv", *TOGETHER, "--write-copick")
    succeed(*words, "--with", model)
    sessions = {
        p.session_id
        for p in tp.open_project(project / "config.json").root.get_run("SIM_2").get_picks(user_id="tomopick")
    }
    assert sessions == {"in-folds-first"}


def test_augmentation_turns_the_tomogram_as_training_did(succeed, model, phantom, tmp_path):
    succeed("pick", model, phantom, "--out", tmp_path / "picks.csv", *TOGETHER, "--augment", 4)
    found = tp.read_picks(tmp_path / "picks.csv")
    assert_same_picks(found, together([model], phantom, augment=4), 5)
    assert not np.array_equal(found.scores(), together([model], phantom).scores())


def test_an_expected_precision_keeps_the_picks_that_reach_it(succeed, model, phantom, tmp_path):
    from tomopick.calibration import Calibration
    from tomopick.models.modelfile import Model, save_model

    network = tp.load_model(model)
    half = Calibration(raw=(0.0, 1.0), probability=(0.0, 0.5))
    known = network.spec.model_copy(update={"calibration": {o.name: half for o in network.spec.objects}})
    save_model(tmp_path / "m.safetensors", Model(network.network, known))
    every = together([tmp_path / "m.safetensors"], phantom, thresholds={})
    wanted = round(float(np.median([every.where(name=n).scores().max() for n in every.objects])), 3)
    words = ("pick", tmp_path / "m.safetensors", phantom, "--out", tmp_path / "picks.csv", *TOGETHER)
    succeed(*words, "--precision", wanted)
    found = tp.read_picks(tmp_path / "picks.csv")
    assert 0 < len(found) < len(every)
    assert found.objects == [n for n in every.objects if every.where(name=n).scores().max() >= wanted]
    for name in found.objects:
        assert found.where(name=name).scores().mean() >= wanted - 1e-5


def test_exclusive_picks_keep_one_object_in_one_place(succeed, model, phantom, tmp_path):
    from tomopick.inference.peaks import likelier
    from tomopick.models.modelfile import save_model

    # with hardly any background, objects are found in one place
    crowded = tp.load_model(model)
    crowded.network.classifier[3].bias[-1] -= 3
    file = tmp_path / "crowded.safetensors"
    save_model(file, crowded)
    succeed("pick", file, phantom, "--out", tmp_path / "picks.csv", *TOGETHER, "--threshold", 0.0, "--exclusive")
    objects = crowded.spec.objects
    every = together([file], phantom, thresholds={})
    assert_same_picks(tp.read_picks(tmp_path / "picks.csv"), likelier(every, objects), 5)
    assert len(likelier(every, objects)) < len(every)
