"""Bad input, each answered by one line and exit code 2, with nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import torch

from tomopick.io.tomograms import write_mrc


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    write_mrc(path, noise(16, 16, 16), 10)
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(path: Path) -> None:
    write_mrc(path, noise(16, 16, 16), 10)
    path.write_bytes(path.read_bytes()[:500])


def image(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(noise(32, 32))
        file.voxel_size = 10


def spoilt(path: Path, value: float) -> None:
    volume = noise(24, 24, 24)
    write_mrc(path, volume, 10)
    volume[12, 3, 4] = value
    path.write_bytes(path.read_bytes()[:1024] + volume.tobytes())


def with_nan(path: Path) -> None:
    spoilt(path, np.nan)


def with_infinity(path: Path) -> None:
    spoilt(path, np.inf)


def without_voxel_size(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(noise(24, 24, 24))
        file.voxel_size = 0


def not_cubes(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(noise(24, 24, 24))
        file.voxel_size = (10, 10, 20)


def text(path: Path) -> None:
    path.write_text("not a tomogram\n" * 100)


def zipped(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b" + bytes(2000))


BAD_TOMOGRAMS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "empty": (empty, ("is empty",)),
    "truncated": (truncated, ("truncated",)),
    "cut in the header": (cut_in_the_header, ("500 bytes",)),
    "2D": (image, ("2D image of 32 x 32",)),
    "NaN": (with_nan, ("NaN",)),
    "infinite": (with_infinity, ("infinite",)),
    "no voxel size": (without_voxel_size, ("--voxel-spacing",)),
    "voxels that are no cubes": (not_cubes, ("10 x 10 x 20", "--voxel-spacing")),
    "text": (text, ("not an MRC file",)),
    "compressed": (zipped, ("gunzip",)),
}


@pytest.mark.parametrize("case", BAD_TOMOGRAMS)
@pytest.mark.parametrize("name", ["pick", "import", "info"])
def test_a_bad_tomogram_is_refused(name, case, refuse, model, tmp_path):
    make, says = BAD_TOMOGRAMS[case]
    path, out = tmp_path / "ts.mrc", tmp_path / "out"
    make(path)
    words = {
        "pick": ("pick", model, path, "--out", out / "picks.csv", "--stride", 8),
        "import": ("import", path, out, "--object", "ribosome=150"),
        "info": ("info", path),
    }[name]
    refuse(*words, says=("ts", *says))
    assert [p for p in out.rglob("*") if p.is_file()] == []


def test_other_bad_inputs_to_pick_are_refused(refuse, model, phantom, tmp_path):
    def pick(*inputs: object, says: tuple[str, ...], words: tuple[object, ...] = ()) -> None:
        refuse("pick", model, *inputs, "--out", tmp_path / "out" / "picks.csv", *words, says=says)

    (tmp_path / "empty").mkdir()
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = noise(8, 8, 8), noise(8, 8, 8)
    pick(tmp_path / "nothing.mrc", says=("nothing.mrc",))
    pick(tmp_path / "empty", says=("holds no tomograms", ".mrc"))
    pick(tmp_path / "two.h5", says=("several 3D datasets",))
    pick(phantom, says=("'denoised'", "'wbp' at 10 A", "--tomogram"), words=("--tomogram", "denoised"))
    pick(phantom, says=("SIM_7", "SIM_0, SIM_1, SIM_2"), words=("--runs", "SIM_0,SIM_7"))
    pick(phantom, phantom, says=("SIM_0, SIM_1, SIM_2", "rename"))
    pick(phantom, says=("stride 3", "8"), words=("--stride", 3, "--runs", "SIM_0"))
    pick(phantom, says=("stride 0",), words=("--stride", 0, "--runs", "SIM_0"))
    pick(phantom, says=("'fp8'", "bf16"), words=("--dtype", "fp8"))
    pick(phantom, says=("'gpu'", "cuda"), words=("--device", "gpu"))
    pick(phantom, says=("nothing.mrc",), words=("--mask", tmp_path / "nothing.mrc", "--runs", "SIM_0"))
    write_mrc(tmp_path / "mask.mrc", noise(8, 8, 8), 10)
    pick(phantom, says=("mask", "(8, 8, 8)"), words=("--mask", tmp_path / "mask.mrc", "--runs", "SIM_0"))
    write_mrc(tmp_path / "ts.mrc", noise(24, 24, 24), 10)
    pick(tmp_path / "ts.mrc", says=("--write-copick", "project"), words=("--write-copick",))
    assert list(tmp_path.rglob("picks.csv*")) == []


def test_models_that_cannot_pick_together_are_refused_before_anything_is_computed(
    refuse, model, phantom, monkeypatch, tmp_path
):
    from tomopick.commands import pick as pick_command
    from tomopick.models.modelfile import Model, load_model, save_model

    monkeypatch.setattr(pick_command, "pick", None)
    known = load_model(model)
    renamed = (known.spec.objects[0].model_copy(update={"name": "mine"}), *known.spec.objects[1:])
    save_model(tmp_path / "other.safetensors", Model(known.network, known.spec.model_copy(update={"objects": renamed})))
    (tmp_path / "folds" / "fold_1").mkdir(parents=True)

    def pick(*words: object, says: tuple[str, ...]) -> None:
        refuse("pick", model, phantom, "--out", tmp_path / "out" / "picks.csv", *words, says=says)

    name = known.spec.objects[0].name
    pick("--with", tmp_path / "other.safetensors", says=("same objects", f"finds {name}", "'other' finds mine"))
    pick("--with", tmp_path / "none.safetensors", says=("none.safetensors",))
    pick("--with", tmp_path / "folds", says=("fold_1", "model.safetensors"))
    pick("--with", model, "--weights", "2", says=("1 numbers for 2 models",))
    pick("--with", model, "--weights", "2,one", says=("2,one", "separated by commas"))
    pick("--with", model, "--weights", "2,-1", says=("2, -1", "above 0"))
    pick("--augment", 9, says=("turned crops in 8 ways", "not 9"))
    pick("--augment", 0, says=("--augment",))
    pick("--precision", 1.5, says=("1.5", "at most 1"))
    pick("--precision", "bf16", says=("--precision",))
    pick("--precision", 0.9, "--threshold", 0.5, says=("--threshold", "--precision"))
    assert list(tmp_path.rglob("picks.csv*")) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["train", "pick", "memory"])
def test_a_gpu_that_is_not_there_is_told(name, refuse, model, phantom, tmp_path):
    words = {
        "train": ("train", phantom, "--out", tmp_path / "out"),
        "pick": ("pick", model, phantom, "--out", tmp_path / "out" / "p.csv"),
        "memory": ("memory", "--window", 16, "--out", tmp_path / "out"),
    }[name]
    refuse(*words, "--device", "cuda", says=("no cuda", "--device cpu"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["picks.txt", "picks", "picks.csv.gz", "file/picks.csv", "folder.csv"])
def test_picks_that_cannot_be_written_are_refused_before_anything_is_computed(
    name, refuse, model, phantom, monkeypatch, tmp_path
):
    from tomopick.commands import pick as pick_command

    monkeypatch.setattr(pick_command, "pick", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    refuse("pick", model, phantom, "--out", tmp_path / name, says=(name,))


def test_model_files_that_are_none_are_refused(refuse, model, phantom, tmp_path):
    bytes_of_it = model.read_bytes()
    renamed = (phantom / "truth.csv").read_bytes()
    bad: dict[str, bytes] = {"csv": renamed, "cut": bytes_of_it[:-1000], "head": bytes_of_it[:50], "empty": b""}
    for name, content in bad.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        told = (path.name, "not a model file", "empty" if not content else "cut short", "`tomopick train`")
        assert "header" not in refuse("pick", path, phantom, "--out", tmp_path / "p.csv", says=told).err
        refuse("info", path, says=told)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "pickle.pt")
    refuse("pick", tmp_path / "pickle.pt", phantom, "--out", tmp_path / "p.csv", says=("pickle.pt",))
    refuse("pick", tmp_path / "none.safetensors", phantom, "--out", tmp_path / "p.csv", says=("none.safetensors",))
    refuse("pick", tmp_path, phantom, "--out", tmp_path / "p.csv", says=(str(tmp_path), "model.safetensors"))
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "model.safetensors").touch()
    told = (f"the model of that folder is {tmp_path / 'training' / 'model.safetensors'}",)
    refuse("pick", tmp_path / "training", phantom, "--out", tmp_path / "p.csv", says=told)
    refuse("pick", phantom / "truth.csv", phantom, "--out", tmp_path / "p.csv", says=("truth.csv", "not a model file"))
    refuse("report", "--picks", phantom / "truth.csv", "--model", tmp_path / "csv.safetensors", says=("not a model",))
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ("not JSON",)),
        ("{", ("not JSON",)),
        ("\x00\x01", ("not JSON",)),
        ("[]", ("pickable_objects",)),
        ('{"epochs": 50}', ("pickable_objects",)),
        ('{"pickable_objects": "all"}', ("pickable_objects",)),
        (None, ("No such file",)),
    ],
)
@pytest.mark.parametrize("name", ["pick", "train", "evaluate", "info"])
def test_a_project_that_is_none_is_refused(name, content, says, refuse, model, phantom, tmp_path):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    words = {
        "pick": ("pick", model, path, "--out", tmp_path / "p.csv"),
        "train": ("train", path, "--out", tmp_path / "out"),
        "evaluate": ("evaluate", "--truth", path, "--picks", phantom / "truth.csv"),
        "info": ("info", path),
    }[name]
    refuse(*words, says=("config.json", *(("no file",) if name == "info" and content is None else says)))
    assert not (tmp_path / "p.csv").exists()
    assert not (tmp_path / "out").exists()


def test_a_project_without_objects_or_runs_is_refused(refuse, model, phantom, tmp_path):
    config = json.loads((phantom / "config.json").read_text())
    config["overlay_root"] = f"local://{tmp_path}/elsewhere"
    (tmp_path / "empty.json").write_text(json.dumps(config))
    refuse("train", tmp_path / "empty.json", "--out", tmp_path / "out", says=("needs a run",))
    refuse("pick", model, tmp_path / "empty.json", "--out", tmp_path / "p.csv", says=("no runs",))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "p.csv").exists()


def test_a_project_that_does_not_know_the_models_objects_is_refused_at_once(
    refuse, model, project, monkeypatch, tmp_path
):
    from tomopick.commands import pick as pick_command

    monkeypatch.setattr(pick_command, "pick", None)
    config = json.loads((project / "config.json").read_text())
    config["pickable_objects"] = [o for o in config["pickable_objects"] if o["name"] != "thyroglobulin"]
    (project / "config.json").write_text(json.dumps(config))
    refuse(
        "pick", model, project, "--out", tmp_path / "p.csv", "--write-copick", says=("unknown object 'thyroglobulin'",)
    )


IMPORTS = {
    "outside": ("experiment,particle_type,x,y,z\nSIM_0,ribosome,100,100,9000\n", (), ("outside", "9000")),
    "unknown object": ("experiment,particle_type,x,y,z\nSIM_0,mine,100,100,100\n", (), ("mine", "--object")),
    "unknown run": ("experiment,particle_type,x,y,z\nSIM_9,ribosome,100,100,100\n", (), ("SIM_9", "SIM_0")),
    "no column": ("experiment,particle_type,x,y\nSIM_0,ribosome,100,100\n", (), ("no column z",)),
    "text": ("experiment,particle_type,x,y,z\nSIM_0,ribosome,1,b,3\n", (), ("'b'",)),
    "empty": ("", (), ("is empty",)),
    "object without radius": ("experiment,x,y,z\n", ("--object", "ribosome"), ("NAME=RADIUS",)),
    "object of no size": ("experiment,x,y,z\n", ("--object", "ribosome=0"), ("NAME=RADIUS",)),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_picks_that_do_not_fit_are_not_imported(case, refuse, mrc_files, tmp_path):
    content, words, says = IMPORTS[case]
    (tmp_path / "picks.csv").write_text(content)
    refuse("import", mrc_files, tmp_path / "out", "--picks", tmp_path / "picks.csv", *words, says=says)
    assert not (tmp_path / "out" / "config.json").exists()


def test_import_refuses_what_is_not_there_and_what_is(refuse, mrc_files, phantom, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    words = ("--object", "ribosome=150")
    refuse("import", tmp_path / "none", tmp_path / "out", *words, says=("none",))
    refuse("import", tmp_path / "empty", tmp_path / "out", *words, says=("no tomograms",))
    refuse("import", mrc_files, tmp_path / "out", says=("--object",))
    refuse("import", mrc_files, tmp_path / "out", *words, "--picks", tmp_path / "no.star", says=("no.star",))
    refuse("import", mrc_files, phantom, *words, says=("holds a project already",))
    refuse("import", mrc_files, tmp_path / "file" / "out", *words, says=("cannot write",))
    assert not (tmp_path / "out" / "config.json").exists()


def test_simulate_refuses_what_it_cannot_do_and_leaves_nothing(refuse, phantom, tmp_path):
    (tmp_path / "file").write_text("")
    refuse("simulate", phantom, says=("holds a project already",))
    refuse("simulate", tmp_path / "file" / "out", says=("cannot make the folder",))
    refuse("simulate", tmp_path / "out", "--shape", 8, 64, 64, says=("8", "at least 16"))
    refuse("simulate", tmp_path / "out", "--particle", "x=gone.pdb", says=("no file gone.pdb for the structure of x",))
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / "truth.csv").write_text("mine")
    refuse("simulate", tmp_path / "out", says=("holds a project already",))
    assert (tmp_path / "out" / "truth.csv").read_text() == "mine"


def test_memory_of_any_network(succeed, tmp_path):
    said = succeed("memory", "--model", "heatmap-unet", "--window", 32, "--out", tmp_path)
    assert "head" in said.out


def test_memory_and_info_refuse_what_they_do_not_know(refuse, tmp_path):
    (tmp_path / "file").write_text("")
    refuse("memory", "--out", tmp_path / "out", "--model", "unet", says=("unknown network 'unet'",))
    refuse("memory", "--out", tmp_path / "out", "--window", 15, says=("15", "multiple of 8"))
    refuse("memory", "--out", tmp_path / "file" / "out", "--window", 16, says=("cannot write",))
    refuse("info", tmp_path, says=("not a tomogram",))
    refuse("info", tmp_path / "file", says=("is empty",))
    assert not (tmp_path / "out").exists()
