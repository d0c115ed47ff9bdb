"""Training from end to end on few labels: five particles and a model to start from, objects annotated in turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.evaluation import evaluate
from tomopick.inference.engine import score_map
from tomopick.models.modelfile import load_model
from tomopick.models.registry import choices
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.run import TrainingRun, train

EDGE = 480.0  # A
BLOB = ParticleObject(name="blob", radius=80, label=1)
HOLE = ParticleObject(name="hole", radius=80, label=2)
NETWORK = choices("heatmap-unet") | {"model": "heatmap-unet", "init": None, "arguments": {"size": "tiny"}}


def recipe(**chosen: object) -> Recipe:
    plain = {"positions": 16, "precision": "fp32", "learning_rate": 1e-3, "augmentation": {}}
    return Recipe.model_validate(NETWORK | plain | chosen)


def specimen(name: str, seed: int, holes: list[int], spacing: float = 10.0) -> tuple[Tomogram, np.ndarray]:
    """A Gaussian blob somewhere in each octant, those of these numbers dark, in unit noise; and centres, xyz in A."""
    rng = np.random.default_rng(seed)
    octants = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    centres = octants * EDGE / 2 + rng.uniform(90, 150, (8, 3))
    size = round(EDGE / spacing)
    grid = np.stack(np.meshgrid(*[np.arange(size) * spacing] * 3, indexing="ij"), axis=-1)
    volume = rng.normal(size=(size,) * 3)
    for i, centre in enumerate(centres):
        sign = -1 if i in holes else 1
        volume += sign * 6 * np.exp(-((grid - centre) ** 2).sum(axis=-1) / (2 * 30.0**2))
    return Tomogram(volume.astype(np.float32), spacing, name, "wbp"), centres[:, ::-1]


def uniform(name: str, seed: int, thing: ParticleObject, count: int = 8, spacing: float = 10.0) -> TrainingRun:
    """Eight particles of one object, of which so many are annotated."""
    tomogram, xyz = specimen(name, seed, list(range(8)) if thing is HOLE else [], spacing)
    return TrainingRun(tomogram, Picks.of(name, thing.name, xyz[:count]))


@pytest.fixture(scope="module")
def of_blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows bright blobs in voxels of 10 A."""
    out = tmp_path_factory.mktemp("blobs")
    runs = [uniform(name, seed, BLOB) for seed, name in enumerate("abc")]
    return train(runs[:2], runs[2:], [BLOB], recipe(epochs=15, learning_rate=3e-3), out, progress=False).model


def test_five_particles_of_a_new_object_at_another_spacing_are_enough(of_blobs, tmp_path):
    five = uniform("five", 11, HOLE, count=5, spacing=8.0)
    held = uniform("held", 12, HOLE, spacing=8.0)

    def tuned(init: Path | None, out: Path) -> tuple[float, float]:
        chosen = recipe(epochs=15, init=init, ignore_unlabelled=200, beta=1)
        trained = train([five], [held], [HOLE], chosen, out, progress=False)
        spec = load_model(trained.model).spec
        assert spec.spacing == (8.0 if init is None else 10.0)
        result = evaluate(
            trained.validation_picks, held.picks, [HOLE], runs=["held"], beta=1, thresholds=spec.thresholds
        )
        return result.score, float(trained.history["val_loss"].min())

    score, loss = tuned(of_blobs, tmp_path / "tuned")
    assert score > 0.9
    assert loss < 0.3 * tuned(None, tmp_path / "fresh")[1]
    origin = load_model(tmp_path / "tuned" / "model.safetensors").spec.provenance["init"]
    assert set(origin["training"]) == {"a", "b"}


def scores_of(model: Path, run: TrainingRun, xyz: np.ndarray, channel: int) -> np.ndarray:
    """The highest score of an object near each of these places."""
    scores = score_map(load_model(model), run.tomogram, dtype="fp32")
    index = np.round(xyz[:, ::-1] / run.tomogram.spacing / scores.stride).astype(int)
    return np.array([scores.array[channel, z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].max() for z, y, x in index])


def test_what_training_saw_of_several_reconstructions_is_found_in_each(tmp_path):
    """One of the types has the contrast of the other reversed; validation is on the first alone."""

    def with_inverted(run: TrainingRun) -> TrainingRun:
        return replace(run, others=(replace(run.tomogram, array=-run.tomogram.array, kind="inverted"),))

    runs = [uniform(name, seed, BLOB) for seed, name in enumerate("ab")]
    held = with_inverted(uniform("c", 9, BLOB))
    chosen = recipe(epochs=20, learning_rate=3e-3)
    both = train([with_inverted(r) for r in runs], [held], [BLOB], chosen, tmp_path, progress=False)
    inverted = replace(held, tomogram=held.others[0])
    xyz = held.picks.xyz()
    assert scores_of(both.model, inverted, xyz, 0).min() > 0.7
    assert scores_of(both.model, held, xyz, 0).min() > 0.7
    spec = load_model(both.model).spec
    kinds = [spec.provenance[side][run]["kinds"] for side, run in (("training", "a"), ("validation", "c"))]
    assert (spec.kind, kinds) == ("wbp", [["wbp", "inverted"], ["wbp"]])


def test_reconstructions_of_different_volumes_are_refused(tmp_path):
    run = uniform("a", 1, BLOB)
    cropped = replace(run.tomogram, array=run.tomogram.array[4:], kind="cropped")
    with pytest.raises(DataError, match=r"'a': 'cropped' has \(44, 48, 48\) voxels .* same volume"):
        train([replace(run, others=(cropped,))], [uniform("b", 2, BLOB)], [BLOB], recipe(), tmp_path, progress=False)


@pytest.mark.slow
def test_objects_that_are_annotated_in_turns_are_not_taken_for_background(tmp_path):
    """Each run holds four blobs and four holes; one run is annotated for blobs alone, one for holes alone."""
    bright, dark = [0, 3, 5, 6], [1, 2, 4, 7]

    def scores(mark: bool) -> float:
        runs = []
        for seed, (name, thing, which) in enumerate([("a", BLOB, bright), ("b", HOLE, dark)]):
            tomogram, xyz = specimen(name, seed, dark)
            annotated = frozenset([thing.name]) if mark else None
            runs.append(TrainingRun(tomogram, Picks.of(name, thing.name, xyz[which]), annotated))
        tomogram, xyz = specimen("c", 9, dark)
        truth = Picks.join([Picks.of("c", "blob", xyz[bright]), Picks.of("c", "hole", xyz[dark])])
        held = TrainingRun(tomogram, truth)
        chosen = recipe(epochs=20, learning_rate=3e-3, object_weight=1)
        model = train(runs, [held], [BLOB, HOLE], chosen, tmp_path / str(mark), progress=False).model
        return float(min(scores_of(model, held, xyz[bright], 0).min(), scores_of(model, held, xyz[dark], 1).min()))

    marked, plain = scores(mark=True), scores(mark=False)
    assert marked > plain + 0.4


def test_found_particles_that_nobody_annotated_are_not_held_against_the_scores(of_blobs, tmp_path):
    """The validation run has eight blobs, four of them annotated: picks of the others say nothing of thresholds."""
    training, validation = uniform("d", 3, BLOB), uniform("e", 4, BLOB, count=4)
    few = recipe(epochs=1, learning_rate=1e-5, init=str(of_blobs), ignore_unlabelled=150.0)
    found = train([training], [validation], [BLOB], few, tmp_path, progress=False).validation_picks.xyz()
    nearest = np.linalg.norm(found[:, None] - validation.picks.xyz(), axis=2).min(axis=1)
    assert len(found) >= 4
    assert nearest.max() <= 150
