"""A training that starts from a model: its weights, its scaling and its voxels, whatever objects it knew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tomopick.errors import ModelFileError
from tomopick.evaluation import evaluate
from tomopick.inference.engine import score_map
from tomopick.inference.picking import pick
from tomopick.models.modelfile import Model, ModelSpec, load_model, save_model
from tomopick.models.registry import build, choices, names
from tomopick.models.shipped import simulated_model
from tomopick.objects import CZII_OBJECTS, ParticleObject
from tomopick.recipe import Normalisation, Recipe
from tomopick.simulate import simulate_run
from tomopick.tomogram import Tomogram
from tomopick.training.start import Start, start_training

A, B, C = (ParticleObject(name=name, radius=80, label=i + 1) for i, name in enumerate("abc"))
SMALL = {"cryoet3dcnn": {"window": 16}, "heatmap-unet": {"size": "tiny"}, "segresnet": {"filters": 4},
         "dynunet": {"filters": [4, 8, 16]}}  # fmt: skip
SCALING = Normalisation(method="standard", clip=4.0)


def saved(folder: Path, name: str, objects: tuple[ParticleObject, ...] = (A, B)) -> Path:
    """A model file with weights and running means that no fresh network has."""
    arguments = {"num_classes": len(objects) + 1, **SMALL[name]}
    torch.manual_seed(5)
    network = build(name, arguments)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape))
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 2.0)
    provenance = {"training": {"SIM_0": {"picks": 7}}, "init": {"sha256": "0"}, "epochs": 3}
    spec = ModelSpec(
        architecture=name, arguments=arguments, objects=objects, spacing=8.0, normalisation=SCALING,
        provenance=provenance,
    )  # fmt: skip
    save_model(folder / "first.safetensors", Model(network, spec))
    return folder / "first.safetensors"


def from_model(path: Path, objects: tuple[ParticleObject, ...], **said: object) -> Start:
    spec = load_model(path).spec
    chosen = {"model": spec.architecture, "arguments": SMALL[spec.architecture], "init": path} | said
    return start_training(Recipe.model_validate(chosen), objects, 10.0)


@pytest.mark.parametrize("name", names())
def test_with_the_same_objects_it_scores_as_the_model_does(name, tmp_path):
    path = saved(tmp_path, name)
    start = from_model(path, (A, B))
    model = load_model(path)
    tomogram = Tomogram(np.random.default_rng(0).normal(size=(24, 32, 32)).astype(np.float32), 8.0, "t")
    begun = Model(start.network.eval(), model.spec)
    one, other = (score_map(m, tomogram, dtype="fp32").array for m in (begun, model))
    assert np.array_equal(one, other)
    assert all(p.requires_grad for p in start.network.parameters())


@pytest.mark.parametrize("name", names())
def test_objects_that_the_model_knows_keep_their_logits_and_others_start_fresh(name, tmp_path):
    path = saved(tmp_path, name)
    start = from_model(path, (C, B))
    torch.manual_seed(1)
    tile = torch.randn(1, 1, 32, 32, 32)
    networks = [n.eval() for n in (load_model(path).network, start.network, from_model(path, (B, C, A)).network)]
    with torch.inference_mode():
        known, other, more = (n.classify(n.embed(tile)) for n in networks)
    torch.testing.assert_close(other[:, 1:], known[:, 1:], rtol=1e-4, atol=1e-5)  # b, and background
    assert not other[:, 0].allclose(known[:, 0], atol=1e-3)
    torch.testing.assert_close(more[:, [2, 0, 3]], known, rtol=1e-4, atol=1e-5)


def test_weights_still_learn_at_their_own_rates(tmp_path):
    path = saved(tmp_path, "cryoet3dcnn")
    fresh = start_training(Recipe(arguments=SMALL["cryoet3dcnn"]), (A, B), 10.0).learning
    begun = from_model(path, (A, B)).learning
    assert fresh.keys() == begun.keys() == {"classifier.0.weight"}
    assert torch.equal(fresh["classifier.0.weight"], begun["classifier.0.weight"])


def test_spacing_and_normalisation_are_the_models_and_its_origin_is_told(tmp_path):
    path = saved(tmp_path, "heatmap-unet")
    start = from_model(path, (C,))
    assert (start.spacing, start.recipe.normalisation) == (8.0, SCALING)
    assert start.arguments == {"num_classes": 2, "size": "tiny"}
    origin = start.provenance["init"]
    assert origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (origin["objects"], origin["training"]) == (["a", "b"], {"SIM_0": {"picks": 7}})
    assert origin["init"] == {"sha256": "0"}


def test_another_normalisation_in_the_recipe_gives_way_with_a_notice(tmp_path):
    path = saved(tmp_path, "heatmap-unet")
    with pytest.warns(UserWarning, match=r"normalisation is that of .*first\.safetensors"):
        start = from_model(path, (A, B), normalisation=Normalisation(clip=9.0))
    assert start.recipe.normalisation == SCALING
    from_model(path, (A, B), normalisation=SCALING)


CZII = tuple(ParticleObject(name=n, radius=80, label=i + 1) for i, n in enumerate(("thyroglobulin", "apo-ferritin")))


def test_a_heatmap_network_starts_from_the_phantoms_and_knows_their_objects_by_name():
    start = start_training(Recipe.model_validate(choices("heatmap-unet") | {"model": "heatmap-unet"}), CZII, 6.5)
    brought = load_model(simulated_model("heatmap-unet"))
    rows = [[o.name for o in brought.spec.objects].index(o.name) for o in CZII] + [len(brought.spec.objects)]
    torch.manual_seed(1)
    tile = torch.randn(1, 1, 32, 32, 32)
    networks = [n.eval() for n in (brought.network, start.network)]
    with torch.inference_mode():
        theirs, ours = (n.classify(n.embed(tile)) for n in networks)
    torch.testing.assert_close(ours, theirs[:, rows], rtol=1e-4, atol=1e-5)
    assert start.spacing == 6.5  # the data's own: nobody chose this model for its voxels
    assert start.provenance["init"]["training"].keys() >= {"SIM_0", "SIM_1"}
    assert start.known >= {o.name for o in CZII}


def test_without_weights_that_fit_the_start_is_fresh_and_says_so():
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="heatmap-unet tiny starts with fresh weights"):
        start = start_training(Recipe(model="heatmap-unet", arguments={"size": "tiny"}, init="simulated"), (A, B), 10.0)
    torch.manual_seed(0)
    fresh = start_training(Recipe(model="heatmap-unet", arguments={"size": "tiny"}), (A, B), 10.0)
    assert all(torch.equal(a, b) for a, b in zip(start.network.parameters(), fresh.network.parameters(), strict=True))
    assert start.provenance == {}
    assert not start.known


def test_the_phantoms_particles_are_found_by_the_model_that_comes_along():
    tomogram, truth = simulate_run("unseen", (64, 128, 128), seed=77)
    picks = pick(load_model(simulated_model("heatmap-unet")), tomogram)
    assert evaluate(picks, truth, CZII_OBJECTS).score > 0.8


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"model": "segresnet", "arguments": {}}, "is a model of heatmap-unet, not segresnet"),
        ({"arguments": {"size": "small"}}, "built with the arguments {'size': 'tiny'}, not {'size': 'small'}"),
        ({"init": Path("nowhere.safetensors")}, "no model file nowhere.safetensors"),
    ],
)
def test_another_network_is_refused(choices, said, tmp_path):
    path = saved(tmp_path, "heatmap-unet")
    with pytest.raises(ModelFileError, match=said):
        from_model(path, (A, B), **choices)
