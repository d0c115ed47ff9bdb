"""The peer: a MONAI UNet picks particles as a user would do it today, without tomopick's training or inference.

A UNet of 1.1 million parameters (channels 48, 64, 80, 80; strides 2, 2, 1; one residual unit) learns spheres of half
the particle's radius from crops of 96^3 voxels, centred on a voxel of each class equally often, flipped along all three
axes; cross-entropy + Tversky loss, AdamW with a cosine rate, bfloat16 where the processor has it. A sliding window
(overlap 0.25, Gaussian blending) labels a tomogram; each connected component of a class is a pick, its score the
component's highest probability. The validation run chooses the score thresholds, nothing else: the last network counts.

tomopick reads the project, chooses thresholds and scores, for this as for its own networks. The time limit is for the
steps alone. Prints Markdown (also DIR/results.md); DIR also gets results.json, network.safetensors and picks.csv, which
has the picks of the validation and test runs whatever their score. Runs on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import Machine, peak_memory_gb
from measure import answer, interval_words, make_folder, markdown_table, mean_f1, ratio_cells, write_results
from monai.data import set_track_meta
from monai.inferers import sliding_window_inference
from monai.losses import TverskyLoss
from monai.networks.nets import UNet
from monai.transforms import ClassesToIndices, Compose, NormalizeIntensity, RandCropByLabelClassesd, RandFlipd
from monai.utils import set_determinism
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor, nn

from tomopick.atomic import replacing
from tomopick.commands.screen import progress_bar
from tomopick.commands.sources import project_at, split_names
from tomopick.curves import best_thresholds, threshold_curve
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation, evaluate
from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom
from tomopick.inference.engine import chosen_dtype
from tomopick.io.picks import write_picks
from tomopick.io.project import Project
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

TRAIN, VALIDATION, TEST = "TS_6_4,TS_6_6,TS_69_2,TS_73_6", "TS_86_3", "TS_5_4,TS_99_9"
WINDOW = 96  # voxels along the edge of training crops and of windows
BATCH = 2  # crops
RATE = 1e-3  # at the start of the cosine
LABEL = 0.5  # radius of the sphere that is labelled, in particle radii
SMALLEST = 0.5  # components smaller than a sphere of this many label radii are dropped
PLANES = 16  # planes turned into probabilities at once, which bounds memory
VOXELS_PER_CLASS = 200_000  # crop centres kept for each class and run, evenly spread
PRECISION = chosen_dtype("auto", "cpu")
F4, LOWEST_F4, F1, NONE = "best F4, middle of the plateau", "best F4, lowest", "best F1, middle of the plateau", "none"
Thresholds = dict[str, float]


@dataclass(frozen=True)
class Training:
    """What a training did: minutes, steps, and the mean loss of each tenth of its steps."""

    minutes: float
    steps: int
    losses: list[float]


@dataclass(frozen=True)
class Found:
    """All picks in some runs, whatever their score, and seconds by run from opening it to having its picks."""

    picks: Picks
    seconds: dict[str, float]


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with annotated runs, for training and validation")
    parser.add_argument("--test-config", type=Path, metavar="CONFIG", help="project of the test runs (the same one)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for all results")
    parser.add_argument("--minutes", type=float, default=20, help="time limit of the training (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    for name, runs in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        parser.add_argument(f"--{name}", default=runs, metavar="RUNS", help="separated by commas (%(default)s)")
    parser.add_argument("--tomogram", default="wbp", help="tomogram type (%(default)s)")
    parser.add_argument("--network", type=Path, metavar="FILE", help="test this network.safetensors and train none")
    return parser.parse_args()


def peer_network(classes: int) -> UNet:
    """The UNet: (batch, 1, D, H, W) densities to (batch, classes, D, H, W) logits, background first."""
    return UNet(3, 1, classes, channels=(48, 64, 80, 80), strides=(2, 2, 1), num_res_units=1)


def autocast() -> torch.autocast:
    """The context in which the network runs, in training and in use: bfloat16 where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16")


def opened(project: Project, runs: Sequence[str], kind: str) -> list[Tomogram]:
    """The runs' tomograms, not read yet, so that one that cannot be used is told before the training.

    Raises:
        DataError: a tomogram is not there, or smaller than a window.
    """
    tomograms = [project.tomogram(run, kind) for run in runs]
    for one in tomograms:
        if min(one.shape) < WINDOW:
            raise DataError(
                f"tomogram '{one.name}' has {one.shape} voxels (zyx); the peer needs {WINDOW} along each axis"
            )
    return tomograms


def densities_of(tomogram: Tomogram) -> Tensor:
    """The whole tomogram (1, D, H, W), float32, with mean 0 and deviation 1."""
    scaled: Tensor = NormalizeIntensity()(torch.from_numpy(tomogram.read((0, 0, 0), tomogram.shape))[None])
    return scaled


def labels_of(tomogram: Tomogram, truth: Picks, objects: Sequence[ParticleObject]) -> NDArray[np.uint8]:
    """Label of each voxel, zyx: 1 + the object's index within half its radius of a particle, 0 elsewhere."""
    labels = np.zeros(tomogram.shape, np.uint8)
    for index, obj in enumerate(objects, start=1):
        radius = LABEL * obj.radius / tomogram.spacing
        for centre in voxel_from_angstrom(truth.where(name=obj.name).xyz(), tomogram.spacing):
            low = np.maximum(np.ceil(centre - radius), 0).astype(int)
            high = np.minimum(np.floor(centre + radius) + 1, labels.shape).astype(int)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            squares = [(np.arange(a, b) - c) ** 2 for a, b, c in zip(low, high, centre, strict=True)]
            labels[box][sum(np.ix_(*squares)) <= radius**2] = index
    return labels


def items_of(project: Project, tomograms: Sequence[Tomogram]) -> list[dict[str, object]]:
    """What MONAI's transforms cut crops from, one for each run."""
    centres = ClassesToIndices(num_classes=len(project.objects) + 1, max_samples_per_class=VOXELS_PER_CLASS)
    items = []
    for tomogram in tomograms:
        label = torch.from_numpy(labels_of(tomogram, project.picks(run=tomogram.name), project.objects))[None]
        items.append({"image": densities_of(tomogram), "label": label, "centres": centres(label)})
    return items


def crop_transforms(classes: int, seed: int) -> Compose:
    """One crop of an item, centred on a voxel of each class equally often, and flipped."""
    keys = ["image", "label"]
    crop = RandCropByLabelClassesd(
        keys, label_key="label", spatial_size=(WINDOW,) * 3, num_classes=classes, indices_key="centres", warn=False
    )
    flips = [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)]
    return Compose([crop, *flips]).set_random_state(seed)


def train(network: nn.Module, items: Sequence[dict[str, object]], classes: int, minutes: float, seed: int) -> Training:
    """Train for so many minutes, the rate falling along half a cosine of the time that has passed."""
    transforms, rng = crop_transforms(classes, seed), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    entropy, tversky = nn.CrossEntropyLoss(), TverskyLoss(softmax=True, to_onehot_y=True)
    losses: list[float] = []
    network.train()
    started, told = time.monotonic(), 0
    while (spent := (time.monotonic() - started) / 60) < minutes:
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * spent / minutes))
        crops = [crop for run in rng.integers(len(items), size=BATCH) for crop in transforms(items[run])]
        labels = torch.stack([crop["label"] for crop in crops]).long()
        with autocast():
            logits = network(torch.stack([crop["image"] for crop in crops]))
        loss = entropy(logits.float(), labels[:, 0]) + tversky(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if spent >= told:
            told = int(spent) + 1
            print(f"minute {spent:.1f}, step {len(losses)}, loss {np.mean(losses[-20:]):.4f}", flush=True)
    if not losses:
        raise DataError(f"--minutes {minutes:g} leaves no time for a single step; give more than 0")
    return Training(
        (time.monotonic() - started) / 60,
        len(losses),
        [float(np.mean(part)) for part in np.array_split(losses, min(10, len(losses)))],
    )


def probabilities_of(network: nn.Module, densities: Tensor, label: str) -> tuple[Tensor, NDArray[np.uint8]]:
    """Class probabilities (classes, D, H, W), and the likeliest class of each voxel, zyx."""
    windows = np.prod([1 if n <= WINDOW else 1 + np.ceil((n - WINDOW) / (0.75 * WINDOW)) for n in densities.shape[1:]])
    done = 0
    network.eval()
    with torch.inference_mode(), autocast(), progress_bar(label) as tell:

        def predict(window: Tensor) -> Tensor:
            nonlocal done
            done += 1
            tell(done / windows)
            logits: Tensor = network(window).float()
            return logits

        blended = sliding_window_inference(densities[None], WINDOW, 1, predict, overlap=0.25, mode="gaussian")[0]
        likeliest = np.empty(densities.shape[1:], np.uint8)
        for z in range(0, len(likeliest), PLANES):
            planes = blended[:, z : z + PLANES].softmax(dim=0)
            blended[:, z : z + PLANES] = planes
            likeliest[z : z + PLANES] = planes.argmax(dim=0).numpy()
    return blended, likeliest


def components(mask: NDArray[np.bool_], scores: NDArray[np.float32], least: float) -> tuple[NDArray[np.float64], ...]:
    """Centroids (n, 3) in voxels, zyx, and highest scores (n,) of the mask's components of at least so many voxels."""
    numbers, count = ndimage.label(mask)
    where = np.nonzero(mask)
    numbers = numbers[where] - 1
    sizes = np.bincount(numbers, minlength=count)
    centroids = np.stack([np.bincount(numbers, axis, minlength=count) for axis in where], axis=1) / sizes[:, None]
    highest = np.zeros(count)
    np.maximum.at(highest, numbers, scores[where])
    return centroids[sizes >= least], highest[sizes >= least]


def find(network: nn.Module, tomogram: Tomogram, objects: Sequence[ParticleObject]) -> Picks:
    """All picks in a tomogram, whatever their score."""
    probabilities, likeliest = probabilities_of(network, densities_of(tomogram), tomogram.name)
    parts = []
    for index, obj in enumerate(objects, start=1):
        smallest = 4 / 3 * np.pi * (SMALLEST * LABEL * obj.radius / tomogram.spacing) ** 3
        voxels, scores = components(likeliest == index, probabilities[index].numpy(), smallest)
        parts.append(Picks.of(tomogram.name, obj.name, angstrom_from_voxel(voxels, tomogram.spacing), scores))
    return Picks.join(parts)


def find_all(network: nn.Module, tomograms: Sequence[Tomogram], objects: Sequence[ParticleObject]) -> Found:
    """All picks in several tomograms."""
    parts, seconds = [], {}
    for tomogram in tomograms:
        started = time.perf_counter()
        parts.append(find(network, tomogram, objects))
        seconds[tomogram.name] = time.perf_counter() - started
        print(f"{tomogram.name}: {len(parts[-1])} components, {seconds[tomogram.name]:.0f} s", flush=True)
    return Found(Picks.join(parts), seconds)


def trained(args: argparse.Namespace, project: Project, tomograms: Sequence[Tomogram]) -> tuple[UNet, Training | None]:
    """The network of a new training, saved, or the one that was given.

    Raises:
        DataError: the file that was given cannot be read, or holds another network.
    """
    classes = len(project.objects) + 1
    network = peer_network(classes)
    if args.network is not None:
        try:
            network.load_state_dict(load_file(args.network))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise DataError(f"{args.network} holds no network of this peer for {project.path}: {error}") from error
        return network, None
    done = train(network, items_of(project, tomograms), classes, args.minutes, args.seed)
    with replacing(args.out / "network.safetensors") as temporary:
        save_file(network.state_dict(), temporary)
    return network, done


def choices_of(
    found: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str]
) -> dict[str, Thresholds]:
    """Thresholds by object that the validation runs ask for, by the way of choosing them."""
    curve = threshold_curve(found, truth, objects, runs=runs)
    lowest = curve.loc[curve.groupby("object")["f_beta"].idxmax()]
    return {
        F4: best_thresholds(found, truth, objects, runs=runs),
        LOWEST_F4: {str(name): float(t) for name, t in zip(lowest["object"], lowest["threshold"], strict=True)},
        F1: best_thresholds(found, truth, objects, beta=1, runs=runs),
        NONE: {},
    }


def score_lines(scored: Evaluation) -> list[str]:
    """Scores by object, as a Markdown table."""
    rows = []
    for name, one in [*scored.by_object.items(), ("all (weighted)", scored.overall)]:
        counts = [str(n) for n in (one.tp + one.fn, one.tp, one.fp)]
        threshold = f"{scored.thresholds[name]:.3f}" if name in scored.thresholds else ""
        rows.append([name, *counts, *ratio_cells(one), threshold])
    columns = ["object", "particles", "TP", "FP", "precision", "recall", "F1", "F4", "F4, 95 %", "threshold"]
    return markdown_table(columns, rows)


def choice_lines(scores: Mapping[str, Evaluation], objects: Sequence[ParticleObject]) -> list[str]:
    """Weighted F4 and mean F1 of the objects that have a weight, by the way thresholds were chosen."""
    rows = [[how, f"{scored.score:.3f}", f"{mean_f1(scored, objects):.3f}"] for how, scored in scores.items()]
    return markdown_table(["thresholds, from the validation runs", "weighted F4", "mean F1"], rows)


def result_lines(
    scores: Mapping[str, Evaluation], objects: Sequence[ParticleObject], facts: Mapping[str, Any]
) -> list[str]:
    """The whole page of results, as Markdown."""
    main, done = scores[F4], facts["training"]
    training = done and [
        f"- trained on {done['runs']}, seed {done['seed']}, {done['minutes']:.1f} minutes, {done['steps']} steps of "
        f"{BATCH} crops of {WINDOW}^3",
        f"- loss by tenths of the training: {', '.join(f'{v:.3f}' for v in done['losses'])}",
    ]
    return [
        f"# MONAI UNet on {', '.join(main.runs)}",
        "",
        f"Weighted F4 **{main.score:.3f}**{interval_words(main)}.",
        "",
        *Machine().lines(),
        f"- peak memory {facts['peak_memory_gb']:.2f} GB",
        f"- {facts['parameters']:,} parameters, computed in {facts['precision']}",
        *(training or []),
        f"- picking, from opening: {', '.join(f'{run} {s:.0f} s' for run, s in facts['seconds'].items())}",
        "",
        *choice_lines(scores, objects),
        *["", f"Thresholds of the {F4}:", "", *score_lines(main)],
        *["", f"Thresholds of the {F1}:", "", *score_lines(scores[F1])],
    ]


def main() -> None:
    """Train, pick, score, print."""
    args = parsed()
    set_track_meta(False)
    set_determinism(args.seed)
    make_folder(args.out)
    project, tested = project_at(args.config), project_at(args.test_config or args.config)
    objects = project.objects
    if [(o.name, o.radius) for o in objects] != [(o.name, o.radius) for o in tested.objects]:
        raise DataError(f"{tested.path} has other objects or radii than {project.path}; they must be the same")
    sides = ((project, args.train), (project, args.val), (tested, args.test))
    training, validation, test = (opened(p, split_names(runs) or [], args.tomogram) for p, runs in sides)
    if len({round(one.spacing, 1) for one in (*training, *validation, *test)}) > 1:
        raise DataError("the tomograms have different voxel spacings; give runs that agree")
    network, done = trained(args, project, training)
    known, found = find_all(network, validation, objects), find_all(network, test, objects)
    write_picks(args.out / "picks.csv", Picks.join((known.picks, found.picks)))
    runs, asked = [one.name for one in validation], [one.name for one in test]
    choices = choices_of(known.picks, Picks.join(project.picks(run=run) for run in runs), objects, runs)
    truth = Picks.join(tested.picks(run=run) for run in asked)
    scores = {how: evaluate(found.picks, truth, objects, runs=asked, thresholds=t) for how, t in choices.items()}
    facts = {
        "machine": asdict(Machine()),
        "parameters": sum(p.numel() for p in network.parameters()),
        "precision": PRECISION,
        "training": done and {"runs": args.train, "seed": args.seed, **asdict(done)},
        "seconds": known.seconds | found.seconds,
        "peak_memory_gb": peak_memory_gb(),
        "scores": {how: scored.to_json() for how, scored in scores.items()},
    }
    write_results(args.out, result_lines(scores, objects, facts), facts, args.out / "results.json")


if __name__ == "__main__":
    answer(main)
