"""Backends: the same picks from each, what is converted and compared is kept, and what goes wrong is told."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

import tomopick as tp
from tomopick.cache import cache_folder
from tomopick.commands.export import changed_picks
from tomopick.errors import DataError, TomopickError
from tomopick.inference import backends
from tomopick.inference.backends import BACKENDS, Choice, fastest, model_in
from tomopick.models import converted as conversion
from tomopick.models.exported import FORMATS, Exported
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.models.registry import build
from tomopick.objects import ParticleObject

OBJECTS = (ParticleObject(name="a", radius=60, label=1), ParticleObject(name="b", radius=80, label=2))
TOMOGRAM = tp.Tomogram(np.random.default_rng(0).normal(size=(40, 70, 95)).astype(np.float32), 10.0, "t")
TIMES = {"torch": 3.0, "onnx": 2.0, "openvino": 1.0}


def network(name: str, **arguments: object) -> Model:
    torch.manual_seed(1)
    arguments = {"num_classes": 3, **arguments}
    spec = ModelSpec(architecture=name, arguments=arguments, objects=OBJECTS, spacing=10.0)
    return Model(build(name, arguments).eval(), spec)


@pytest.fixture(scope="module")
def model() -> Model:
    return network("heatmap-unet", size="tiny")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache folder for the tests that convert, so that they convert once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tomopick"


@pytest.fixture
def timed(monkeypatch) -> list[str]:
    """The backends that were timed, which takes `TIMES`; nothing is converted."""
    names: list[str] = []

    def note(_network, shape, _dtype):
        return TIMES[names[-1]] * np.prod(shape)

    def name(name, made):
        names.append(name)
        return made

    monkeypatch.setattr(backends, "fused", lambda made: name("torch", made))
    monkeypatch.setattr(backends, "converted", lambda model, form: Model(name(form, model.network), model.spec))
    monkeypatch.setattr(backends, "_timed", note)
    return names


@pytest.mark.parametrize("backend", FORMATS)
def test_each_backend_finds_the_picks_of_pytorch_and_is_converted_once(backend, model, kept, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    expected = tp.pick(model, TOMOGRAM, dtype="fp32")
    first = tp.pick(model, TOMOGRAM, backend=backend)
    assert len(expected) > 50
    assert changed_picks(expected, first, TOMOGRAM.spacing) == 0
    monkeypatch.setattr(conversion, "export", None)
    assert tp.pick(model, TOMOGRAM, backend=backend).table.equals(first.table)
    scores = tp.score_map(model, TOMOGRAM, backend=backend)
    np.testing.assert_allclose(scores.array, tp.score_map(model, TOMOGRAM).array, atol=2e-5)


def test_a_damaged_conversion_is_made_again_and_another_network_has_its_own(model):
    first = model_in(model, "openvino")
    folder = cache_folder() / "networks"
    (path,) = folder.glob("*.xml")
    path.write_text("<net")
    assert isinstance(model_in(model, "openvino").network, Exported)
    assert path.read_text() != "<net"
    assert model_in(first, "openvino") is first
    other = network("heatmap-unet", size="tiny")
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    model_in(other, "openvino")
    assert len(list(folder.glob("*.xml"))) == 2


def test_the_fastest_is_found_once_and_kept_for_networks_of_its_kind(model, timed, cache):
    found = fastest(model)
    assert (found.backend, found.fresh, timed) == ("openvino", True, list(BACKENDS))
    assert list(found.seconds) == list(BACKENDS)
    assert fastest(model) == Choice("openvino", found.seconds, fresh=False)
    assert fastest(network("heatmap-unet", size="tiny")).backend == "openvino"
    assert len(timed) == len(BACKENDS)
    assert fastest(network("heatmap-unet", size="small")).fresh
    assert len(json.loads((cache / "backends.json").read_text())) == 2


def test_pytorch_stays_where_another_is_hardly_faster(model, timed, monkeypatch):
    for name, time in (("torch", 1.05), ("openvino", 1.0)):
        monkeypatch.setitem(TIMES, name, time)
    assert fastest(model).backend == "torch"


def test_all_backends_are_really_timed(model, kept, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    monkeypatch.setattr(backends, "PIECE", (16, 32, 32))
    found = fastest(model)
    assert set(found.seconds) == set(BACKENDS)
    assert min(found.seconds.values()) > 0
    assert found.backend in BACKENDS


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"x": 1}', '{"x": {"backend": "tf", "seconds": {}}}', '{"x": {"backend": "onnx"}}']
)
def test_a_damaged_file_of_choices_is_written_anew(text, model, timed, cache):
    cache.mkdir()
    (cache / "backends.json").write_text(text)
    assert fastest(model).fresh
    assert not fastest(model).fresh


def test_a_cache_that_cannot_be_written_is_told_of_or_done_without(model, monkeypatch, tmp_path, request):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write to .*file"):
        model_in(model, "openvino")
    request.getfixturevalue("timed")
    assert fastest(model).fresh
    assert fastest(model).fresh


@pytest.mark.parametrize(
    ("backend", "library", "says"),
    [
        ("onnx", "onnxscript", "onnx and onnxscript"),
        ("onnx", "onnxruntime", "onnxruntime"),
        ("openvino",) * 2 + ("VINO",),
    ],
)
def test_a_backend_that_is_not_installed_names_the_extra_and_auto_does_without(
    backend, library, says, model, monkeypatch
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(TomopickError, match=rf"{says}.* pip install 'tomopick\[export\]'"):
        tp.pick(model, TOMOGRAM, backend=backend)
    monkeypatch.setattr(backends, "FORMATS", {backend: FORMATS[backend]})
    monkeypatch.setattr(backends, "BACKENDS", ("torch", backend))
    monkeypatch.setattr(backends, "PIECE", (16, 32, 32))
    found = fastest(model)
    assert (found.backend, list(found.seconds)) == ("torch", ["torch"])


def test_pytorch_is_taken_unseen_where_the_others_cannot_follow(model, timed):
    assert fastest(network("cryoet3dcnn", window=16)) == Choice("torch")
    assert fastest(model, device="cuda") == Choice("torch")
    assert fastest(model, dtype="bf16") == Choice("torch")
    assert timed == []


@pytest.mark.parametrize(
    ("backend", "options", "says"),
    [
        ("tf", {}, "unknown backend 'tf'; choose torch, onnx, openvino or auto"),
        ("onnx", {"device": "cuda"}, "onnx computes on the CPU, not on cuda"),
        ("openvino", {"dtype": "bf16"}, "openvino computes in fp32, not in bf16"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(backend, options, says, model):
    for use in (tp.pick, tp.score_map):
        with pytest.raises(TomopickError, match=says):
            use(model, TOMOGRAM, backend=backend, **options)
