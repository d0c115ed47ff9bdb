"""`simulate`, `import`, `info`, `memory`: what they leave and what they say."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

import tomopick as tp
from tomopick import cli
from tomopick.io.star import TomogramSize
from tomopick.io.tomograms import write_mrc
from tomopick.models.registry import choices
from tomopick.recipe import Recipe


def test_simulate_leaves_a_project_and_its_truth(phantom):
    source = tp.open_project(phantom / "config.json")
    assert source.runs == ["SIM_0", "SIM_1", "SIM_2"]
    truth = pd.read_csv(phantom / "truth.csv")
    assert list(truth.columns) == ["run", "object", "x", "y", "z"]
    assert [source.tomogram(run, "wbp", 10.0).shape for run in source.runs] == [(48, 64, 64)] * 3
    annotated = source.picks()
    assert (
        annotated.table[["run", "object"]].value_counts().to_dict() == truth[["run", "object"]].value_counts().to_dict()
    )
    columns = ["run", "object", "x", "y", "z"]
    one = annotated.table[columns].sort_values(columns).to_numpy()
    other = truth.sort_values(columns).to_numpy()
    np.testing.assert_allclose(one[:, 2:].astype(float), other[:, 2:].astype(float), atol=1e-3)


def test_the_seed_settles_the_phantom(succeed, phantom, tmp_path):
    words = ("--runs", 1, "--shape", 48, 64, 64, "--seed")
    succeed("simulate", tmp_path / "same", *words, 1)
    succeed("simulate", tmp_path / "other", *words, 2)
    first = [line for line in (phantom / "truth.csv").read_text().splitlines() if "SIM_0" in line]
    assert (tmp_path / "same" / "truth.csv").read_text().splitlines()[1:] == first
    assert (tmp_path / "other" / "truth.csv").read_text().splitlines()[1:] != first


def test_a_particle_of_ones_own_is_simulated_instead_of_the_six(succeed, tmp_path):
    cube = np.zeros((24, 24, 24), np.float32)
    cube[6:18, 6:18, 6:18] = 1
    write_mrc(tmp_path / "cube.mrc", cube, 5.0)
    particle = f"cube={tmp_path / 'cube.mrc'}:800"
    done = succeed("simulate", tmp_path / "mine", "--runs", 1, "--shape", 48, 64, 64, "--particle", particle)
    assert "cube: 800 kDa, radius 43 A" in done.out
    source = tp.open_project(tmp_path / "mine" / "config.json")
    [known] = source.objects
    # a cube of 60 A: its last voxels are 48 A from the middle, and 98 percent of it nearer than that
    assert known.name == "cube"
    assert 40 <= known.radius <= 48
    assert source.picks().objects == ["cube"]
    smooth = gaussian_filter(source.tomogram("SIM_0", "wbp")[:, :, :], 2)
    zyx = np.rint(source.picks().xyz()[:, ::-1] / 10.0).astype(int)
    assert len(zyx) >= 3
    assert (smooth[tuple(zyx.T)] < np.percentile(smooth, 5)).all()  # dark, as protein is


def test_particles_that_do_not_fit_are_told(succeed, tmp_path):
    write_mrc(tmp_path / "long.mrc", np.pad(np.ones((4, 4, 60), np.float32), 2), 8.0)
    particle = f"long={tmp_path / 'long.mrc'}:800"
    done = succeed("simulate", tmp_path / "small", "--runs", 1, "--shape", 16, 32, 32, "--particle", particle)
    assert "no long fits into the tomograms; give a larger --shape" in done.err


def test_varied_tomograms_are_the_same_for_any_number_of_jobs(succeed, tmp_path):
    words = ("--runs", 3, "--shape", 32, 48, 48, "--seed", 1)
    for name, more in {"one": ["--vary"], "two": ["--vary", "--jobs", 2], "plain": []}.items():
        succeed("simulate", tmp_path / name, *words, *more)
    one, two, plain = (tp.open_project(tmp_path / name / "config.json") for name in ("one", "two", "plain"))
    assert one.runs == two.runs == ["SIM_0", "SIM_1", "SIM_2"]
    for run in one.runs:
        # not the bytes of the files: zarr fills up its last chunks with whatever is in memory
        first = one.tomogram(run, "wbp")[:, :, :]
        assert np.array_equal(first, two.tomogram(run, "wbp")[:, :, :])
        assert not np.allclose(first, plain.tomogram(run, "wbp")[:, :, :], atol=0.5)
    truths = [(tmp_path / name / "truth.csv").read_text() for name in ("one", "two", "plain")]
    assert truths[0] == truths[1] != truths[2]


def test_an_interrupted_simulation_is_no_project_and_goes_on_to_the_same(command, succeed, monkeypatch, tmp_path):
    from tomopick.commands import simulate

    real = simulate.simulate_runs
    begun = []

    def interrupt(*settings, first):
        begun.append(first)
        yield next(iter(real(*settings, first=first)))
        raise KeyboardInterrupt

    words = ("simulate", tmp_path / "out", "--runs", 3, "--shape", 32, 48, 48)
    with monkeypatch.context() as patch:
        patch.setattr(simulate, "simulate_runs", interrupt)
        for done in (1, 2):
            stopped = command(*words)
            assert stopped.code == 130
            assert f"{done} of 3 tomograms are kept" in stopped.err
            assert not (tmp_path / "out" / "config.json").exists()
    assert begun == [0, 1]
    # as if it had been killed while it wrote the third
    half = tmp_path / "out" / "ExperimentRuns" / "SIM_2" / "Picks"
    half.mkdir(parents=True)
    (half / "simulation_0_ribosome.json").write_text("{")
    refused = command(*words, "--seed", 1)
    assert refused.code == 2
    assert "unfinished project of other settings: 3 phantoms of 32 x 48 x 48 voxels; seed 0" in refused.err
    succeed(*words)
    words = ("simulate", tmp_path / "at_once", "--runs", 3, "--shape", 32, 48, 48)
    succeed(*words)
    assert_same_project(tmp_path / "out", tmp_path / "at_once")


def test_a_simulation_that_made_nothing_leaves_nothing(command, succeed, monkeypatch, tmp_path):
    from tomopick.commands import simulate

    def interrupt(*settings, first):
        raise KeyboardInterrupt

    words = ("simulate", tmp_path / "out", "--runs", 2, "--shape", 32, 48, 48)
    with monkeypatch.context() as patch:
        patch.setattr(simulate, "simulate_runs", interrupt)
        assert command(*words).code == 130
    assert list((tmp_path / "out").iterdir()) == []
    succeed(*words, "--seed", 1)


def assert_same_project(one, other):
    """Tomograms by their values, as compressed bytes may differ; all other files but for the folders that they name."""
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert len(names) > 30
    for name in names:
        if not any(part.endswith(".zarr") for part in name.parts):
            first, second = ((folder / name).read_bytes().replace(bytes(folder), b"") for folder in (one, other))
            assert first == second, name
    first, second = (tp.open_project(folder / "config.json") for folder in (one, other))
    for run in first.runs:
        np.testing.assert_array_equal(first.tomogram(run, "wbp")[:, :, :], second.tomogram(run, "wbp")[:, :, :])


@pytest.mark.parametrize("ending", ["csv", "star"])
def test_a_folder_of_a_lab_becomes_a_project(ending, succeed, mrc_files, phantom, tmp_path):
    truth = tp.read_picks(phantom / "truth.csv")
    sizes = {run: TomogramSize.of(tp.read_tomogram(mrc_files / f"{run}.mrc")) for run in truth.runs}
    tp.write_picks(tmp_path / f"picks.{ending}", truth, tomogram_sizes=sizes)
    words = ("--picks", tmp_path / f"picks.{ending}", "--tomogram", "denoised")
    out = succeed("import", mrc_files, tmp_path / "out", *words).out
    assert f"3 tomograms of type 'denoised', {len(truth)} picks of " in out
    imported, source = tp.open_project(tmp_path / "out" / "config.json"), tp.open_project(phantom / "config.json")
    for run in source.runs:
        one, other = imported.tomogram(run, "denoised"), source.tomogram(run, "wbp")
        assert one.spacing == other.spacing
        np.testing.assert_array_equal(one[:, :, :], other[:, :, :])
    order = ["run", "object", "x"]
    one, other = (picks.table.sort_values(order) for picks in (imported.picks(), truth))
    assert one[["run", "object"]].to_numpy().tolist() == other[["run", "object"]].to_numpy().tolist()
    np.testing.assert_allclose(one[["x", "y", "z"]], other[["x", "y", "z"]], atol=1e-3)


def test_an_imported_project_trains_and_is_picked(succeed, lab, phantom, recipe, tmp_path):
    (lab / "SIM_2.mrc").unlink()
    truth = tp.read_picks(phantom / "truth.csv")
    mine = tp.Picks(truth.table[(truth.table["run"] != "SIM_2") & (truth.table["object"] == "ribosome")])
    tp.write_picks(tmp_path / "picks.csv", tp.Picks(mine.table.assign(object="80S")))
    words = ("--picks", tmp_path / "picks.csv", "--object", "80S:mine=140")
    succeed("import", lab, tmp_path / "project", *words)
    words = ("--recipe", recipe, "--epochs", 1, "--val-runs", "SIM_1")
    succeed("train", tmp_path / "project", "--out", tmp_path / "run", *words)
    model = tmp_path / "run" / "model.safetensors"
    words = ("--stride", 8, "--threshold", 0.01, "--runs", "SIM_1", "--write-copick")
    succeed("pick", model, tmp_path / "project", "--out", tmp_path / "found.csv", *words)
    assert tp.read_picks(tmp_path / "found.csv").objects == ["mine"]
    words = ("--truth", tmp_path / "project", "--picks", tmp_path / "found.csv", "--runs", "SIM_1")
    assert re.search(r"(?m)^ mine +\d", succeed("evaluate", *words).out)


def test_a_voxel_size_of_one_angstrom_is_noticed(succeed, tmp_path):
    write_mrc(tmp_path / "ts.mrc", np.random.default_rng(0).normal(size=(16, 16, 16)), 1.0)
    outcome = succeed("info", tmp_path / "ts.mrc", user_warnings=True)
    assert re.fullmatch(r"notice: .*ts\.mrc says its voxels are 1 A.*--voxel-spacing\n", outcome.err)
    assert succeed("info", tmp_path / "ts.mrc", "--voxel-spacing", 10).err == ""


def test_info_on_a_tomogram(succeed, tmp_path):
    volume = np.zeros((20, 24, 28), np.float32)
    volume[10, 3, 4] = 5
    write_mrc(tmp_path / "TS_1.mrc", volume, 10.012)
    out = succeed("info", tmp_path / "TS_1.mrc").out
    for said in ("'TS_1'", "20 x 24 x 28 of 10.012 A", "28.0 x 24.0 x 20.0 nm", "from 0 to 5"):
        assert said in out


def test_info_on_picks_counts_them(succeed, phantom):
    out = succeed("info", phantom / "truth.csv").out
    truth = tp.read_picks(phantom / "truth.csv")
    for name in truth.objects:
        counts = [len(truth.where(run=run, name=name)) for run in truth.runs]
        assert re.search(rf"(?m)^ {name} +{' +'.join(map(str, [*counts, sum(counts)]))} *$", out)


def test_info_on_a_project_lists_its_runs(succeed, phantom):
    for path in (phantom, phantom / "config.json"):
        out = succeed("info", path).out
        for run in ("SIM_0", "SIM_1", "SIM_2"):
            assert re.search(rf"(?m)^ {run} +wbp at 10 A +simulation/0 *$", out)


def test_info_on_a_model_is_its_card(succeed, model):
    out = succeed("info", model).out
    for said in ("model of cryoet3dcnn", "10 A voxels, type 'wbp'", "trained on SIM_0; validated on SIM_1", "seed 0"):
        assert said in out
    for name, value in tp.load_model(model).spec.thresholds.items():
        assert re.search(rf"(?m)^ {name} .* {value:.3f} *$", out)


def test_memory_leaves_its_three_files(succeed, tmp_path):
    out = succeed("memory", "--out", tmp_path / "m", "--window", 16, "--batch", 2, "--classes", 3).out
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["memory.csv", "memory.json", "memory_usage.png"]
    assert (tmp_path / "m" / "memory_usage.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "m" / "memory.csv")
    json.loads((tmp_path / "m" / "memory.json").read_text())
    parameters = sum(p.numel() for p in tp.CryoET3DCNN(3, window=16).parameters())
    assert table["parameters_mb"].sum() == pytest.approx(4 * parameters / 1e6, rel=0.01)
    assert [name for name in table["name"] if name not in out] == []


def test_the_help_of_train_tells_the_recipes_defaults():
    told = {}
    for name, parameter in inspect.signature(cli.train, eval_str=True).parameters.items():
        for option in getattr(parameter.annotation, "__metadata__", ()):
            found = re.search(r"\[default: (.*)\]", option.help or "")
            if found and name in Recipe.model_fields:
                told[name] = found[1]
    own, of_maps = Recipe().model_dump(), choices("heatmap-unet")
    others = {name: f"; {of_maps[name]} for networks of score maps" for name in told if name in of_maps}
    others = {name: text for name, text in others.items() if of_maps[name] != own[name]}
    assert told == {name: f"{own[name]}{others.get(name, '')}" for name in told}
    assert len(told) == 7
