"""`tomopick pick --backend`: the picks of PyTorch from other libraries, on record, and the fastest kept."""

from __future__ import annotations

import json
import sys

import pytest
import torch

import tomopick as tp
from tomopick.commands.export import changed_picks
from tomopick.inference import backends, device
from tomopick.models.modelfile import Model, ModelSpec, save_model
from tomopick.models.registry import build

OPTIONS = ("--runs", "SIM_2", "--stride", 8, "--threshold", 0.05, "--dtype", "fp32")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "tomopick"


@pytest.fixture(scope="module")
def padded(model, tmp_path_factory):
    """A model file with a heatmap network for the objects of the trained one."""
    torch.manual_seed(0)
    objects = tp.load_model(model).spec.objects
    arguments = {"num_classes": len(objects) + 1, "size": "tiny"}
    spec = ModelSpec(architecture="heatmap-unet", arguments=arguments, objects=objects, spacing=10.0)
    path = tmp_path_factory.mktemp("padded") / "padded.safetensors"
    save_model(path, Model(build("heatmap-unet", arguments).eval(), spec))
    return path


def journal(path):
    return json.loads(path.with_name(f"{path.name}.progress.json").read_text())


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_picks_are_those_of_pytorch_and_the_backend_is_on_record(backend, succeed, refuse, model, phantom, tmp_path):
    found = {}
    for name in ("torch", backend):
        succeed("pick", model, phantom, "--out", tmp_path / f"{name}.csv", *OPTIONS, "--backend", name)
        found[name] = tp.read_picks(tmp_path / f"{name}.csv")
        told = journal(tmp_path / f"{name}.csv")
        assert [(one["backend"], one["precision"]) for one in told["models"]] == [(name, "fp32")]
        assert told["plans"]["SIM_2"].startswith("tiles of up to 128 voxels with ")
    assert len(found["torch"]) > 3
    assert changed_picks(found["torch"], found[backend], 10.0) == 0
    again = ("pick", model, phantom, "--out", tmp_path / "torch.csv", *OPTIONS)
    assert "finished before" in succeed(*again).out
    refuse(*again, "--backend", backend, says=("other options", "--overwrite"))


def test_the_fastest_is_told_of_once_and_kept(succeed, padded, phantom, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(backends, "PIECE", (16, 32, 32))
    words = ("pick", padded, phantom, "--out", tmp_path / "p.csv", "--runs", "SIM_2", "--backend", "auto")
    first = succeed(*words, "--threshold", 0.1)
    notices = [line for line in first.err.splitlines() if "backend" in line]
    assert len(notices) == 1
    assert [name for name in ("torch ", "onnx ", "openvino ", "184 x 630 x 630") if name not in notices[0]] == []
    kept = (cache / "backends.json").read_bytes()
    (choice,) = json.loads(kept).values()
    told = journal(tmp_path / "p.csv")
    assert told["models"][0]["backend"] == choice["backend"]
    assert told["plans"]["SIM_2"].startswith("slabs of " if choice["backend"] == "torch" else "tiles of ")
    monkeypatch.setattr(backends, "_timed", None)
    second = succeed(*words, "--threshold", 0.1, "--overwrite")
    assert "backend" not in second.err
    assert (cache / "backends.json").read_bytes() == kept
    assert journal(tmp_path / "p.csv")["models"] == told["models"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--backend", "tf"), ("unknown backend 'tf'", "torch, onnx, openvino or auto")),
        (("--backend", "onnx", "--dtype", "bf16"), ("onnx computes in fp32", "--dtype fp32")),
        (("--backend", "openvino"), ("OpenVINO is not installed", "pip install 'tomopick[export]'")),
    ],
)
def test_what_cannot_be_is_one_line(words, says, refuse, model, phantom, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(device, "computes_bf16", lambda: False)  # the backend is to blame all the same
    refuse("pick", model, phantom, "--out", tmp_path / "p.csv", *words, says=says)
    assert not (tmp_path / "p.csv").exists()
