"""Model files: what goes in comes out, and nothing else than a sound model comes in."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tomopick.errors import DataError, ModelFileError
from tomopick.models.modelfile import Model, ModelSpec, load_model, read_spec, save_model
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation

OBJECTS = (
    ParticleObject(name="apo-ferritin", radius=60, weight=1, label=1),
    ParticleObject(name="ribosome", radius=150, weight=2.5, label=7, color=(1, 2, 3, 255)),
)
ARGUMENTS = {"num_classes": 3, "window": 8}
SPEC = ModelSpec(
    architecture="cryoet3dcnn",
    arguments=ARGUMENTS,
    objects=OBJECTS,
    spacing=10.012,
    kind="wbp",
    normalisation=Normalisation(method="standard", clip=4.5),
    thresholds={"apo-ferritin": 0.25, "ribosome": 0.1},
    provenance={"seed": 3, "runs": {"TS_1": "abc"}, "versions": ["2.13", None]},
)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = build("cryoet3dcnn", ARGUMENTS)
    network.train()
    network(torch.randn(4, 1, 8, 8, 8))  # running statistics that are not those of a fresh network
    return Model(network, SPEC)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save_model(path, model)
    return path.read_bytes()


def write(path: Path, model: Model, weights: dict[str, torch.Tensor] | None = None, **changes: object) -> Path:
    """A model file whose header or weights differ from the model's."""
    header = json.loads(model.spec.model_dump_json()) | changes
    save_file(weights or model.network.state_dict(), path, metadata={"tomopick": json.dumps(header)})
    return path


def test_a_model_comes_back_with_its_scores_and_its_header(model, tmp_path):
    path = tmp_path / "apo and ribosome.safetensors"
    save_model(path, model)
    loaded = load_model(str(path))
    assert loaded.spec == SPEC == read_spec(path)
    assert loaded.name == "apo and ribosome"
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())
    for name, value in model.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    windows = torch.randn(3, 1, 24, 24, 32)
    with torch.inference_mode():
        expected = model.network.eval().classify(model.network.embed(windows))
        found = loaded.network.classify(loaded.network.embed(windows))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_weights_in_another_memory_layout_come_back_the_same(model, tmp_path):
    network = build("cryoet3dcnn", ARGUMENTS).to(memory_format=torch.channels_last_3d)
    save_model(tmp_path / "m.safetensors", Model(network, SPEC))
    found = load_model(tmp_path / "m.safetensors").network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(found[name], value), name


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of Unix")
def test_others_may_read_it_as_the_umask_says(model, tmp_path):
    old = os.umask(0o027)
    try:
        save_model(tmp_path / "m.safetensors", model)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == 0o640


def test_an_old_file_survives_a_failed_save(model, saved, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(saved)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match=r"cannot write .*m\.safetensors: No space left on device"):
        save_model(path, model)
    assert path.read_bytes() == saved
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_folder_that_is_not_there_is_named(model, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        save_model(tmp_path / "nowhere" / "m.safetensors", model)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_pickle_is_refused_and_not_executed(name, tmp_path):
    path, marker = tmp_path / name, tmp_path / "executed"
    torch.save({"state_dict": Malicious(marker)}, path)
    with pytest.raises(ModelFileError, match="is not a model file"):
        load_model(path)
    assert not marker.exists()
    torch.load(path.rename(tmp_path / "pickle.pt"), weights_only=False)
    assert marker.exists()  # so it would have done its harm


@pytest.mark.parametrize("content", [b"", b"x", bytes(100), b"MODEL" * 50])
def test_a_file_that_is_something_else_is_refused(content, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.safetensors is not a model file"):
        load_model(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(ModelFileError, match=path.name):
            load_model(path)


def test_weights_of_another_program_are_refused(model, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(model.network.state_dict(), path)
    with pytest.raises(ModelFileError, match="no tomopick header"):
        load_model(path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    path = tmp_path / "m.safetensors"
    path.write_bytes(saved[: int(share * len(saved))])
    with pytest.raises(ModelFileError):
        load_model(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_header_is_refused_or_harmless(saved, tmp_path, data):
    """One byte of the header changed: a model or a ModelFileError, never another error."""
    size = 8 + int.from_bytes(saved[:8], "little")
    place, value = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 255))
    path = tmp_path / "m.safetensors"
    path.write_bytes(saved[:place] + bytes([value]) + saved[place + 1 :])
    with suppress(ModelFileError):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "os.system"}, "unknown network 'os.system'; known: "),
        ({"arguments": {"num_classes": 3, "windows": 8}}, "windows"),
        ({"arguments": {"num_classes": 3, "window": "8"}}, "cannot be built"),
        ({"arguments": {"num_classes": 4, "window": 8}}, "2 objects for a network of 4 classes"),
        ({"objects": []}, "objects"),
        ({"spacing": 0}, "spacing"),
        ({"spacing": float("inf")}, "spacing"),
        ({"format": 2}, "format"),
        ({"hooks": "import os"}, "hooks"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_in_one_line(model, tmp_path, changes, told):
    path = write(tmp_path / "m.safetensors", model, **changes)
    with pytest.raises(ModelFileError, match=told) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_header_of_endless_brackets_is_refused(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(model.network.state_dict(), path, metadata={"tomopick": '{"provenance":' + "[" * 200_000})
    with pytest.raises(ModelFileError, match="header"):
        load_model(path)


@pytest.mark.parametrize("window", [8_000, 800_000, 80_000_000])
def test_a_header_that_asks_for_a_huge_network_takes_no_memory(model, tmp_path, window):
    """8000 would be 260 TB of weights."""
    path = write(tmp_path / "m.safetensors", model, arguments={"num_classes": 3, "window": window})
    with pytest.raises(ModelFileError, match=f"'window': {window}"):
        load_model(path)


def changed(model: Model, name: str, change) -> dict[str, torch.Tensor]:
    weights = dict(model.network.state_dict())
    weights[name] = change(weights[name])
    return weights


@pytest.mark.parametrize(
    "change",
    [lambda w: w[:-1].contiguous(), lambda w: w.T.contiguous(), lambda w: w.half(), lambda w: w.double()],
    ids=["fewer rows", "transposed", "half precision", "double precision"],
)
def test_weights_of_another_shape_or_type_are_refused(model, tmp_path, change):
    path = write(tmp_path / "m.safetensors", model, changed(model, "classifier.0.weight", change))
    with pytest.raises(ModelFileError, match=r"weights do not fit 'cryoet3dcnn' .*: classifier\.0\.weight"):
        load_model(path)


def test_missing_and_surplus_weights_are_refused(model, tmp_path):
    weights = dict(model.network.state_dict())
    weights["extra.weight"] = weights.pop("features.0.bias")
    path = write(tmp_path / "m.safetensors", model, weights)
    with pytest.raises(ModelFileError, match=r"extra\.weight, features\.0\.bias"):
        load_model(path)
