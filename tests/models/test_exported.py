"""Exported networks: the same scores in another runtime, for tiles of other sizes than the one that was traced."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopick.errors import TomopickError
from tomopick.inference.engine import score_map
from tomopick.models.exported import FORMATS, export, exported_network
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.tomogram import Tomogram

OBJECTS = (ParticleObject(name="a", radius=60, label=1), ParticleObject(name="b", radius=80, label=2))
NETWORKS = {"cryoet3dcnn": {"window": 32}, "heatmap-unet": {"size": "tiny"}}
TOMOGRAM = Tomogram(np.random.default_rng(0).normal(size=(40, 70, 95)).astype(np.float32), 10.0, "t")


def model(name: str) -> Model:
    torch.manual_seed(1)
    arguments = {"num_classes": 3} | NETWORKS[name]
    network = build(name, arguments).eval()
    for layer in network.modules():  # as after a training: batch norm that does something
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 2.0)
    return Model(network, ModelSpec(architecture=name, arguments=arguments, objects=OBJECTS, spacing=10.0))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_of_an_exported_network_are_those_of_the_network(name, form, tmp_path):
    mine = model(name)
    path = export(mine, tmp_path / "model", form)
    assert path.suffix == FORMATS[form]
    there = replace(mine, network=exported_network(path, mine.network))
    expected, found = (score_map(one, TOMOGRAM, stride=mine.network.stride) for one in (mine, there))
    assert expected.array.std(axis=(1, 2, 3)).min() > 1e-4
    np.testing.assert_allclose(found.array, expected.array, atol=2e-5)
    told = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert (told["architecture"], [o["name"] for o in told["objects"]]) == (name, ["a", "b"])


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(TomopickError, match="'tflite'; choose onnx or openvino"):
        export(model("heatmap-unet"), tmp_path / "model", "tflite")
