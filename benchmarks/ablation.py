"""Train a network with each choice of its recipe changed in turn, equally long, and judge all alike.

Each trial trains on four runs of CONFIG, crops of whole tomograms, on one core, and is judged on what lies outside of
these crops in the whole tomograms of the same runs (WHOLE), and on the whole of a fifth run: by the weighted F4, and by
the mean F1 of the objects that have a weight. Each takes the best threshold of each object on the judged particles, so
that the choice of thresholds plays no part. The crop of the fifth run is the validation run, from which networks that
keep the last epoch take nothing but thresholds. Test runs are not touched. With --harder the same is asked of the runs
that another project holds, which may be some of these under other conditions. Trials that finished are kept in DIR and
not repeated; the table, in Markdown, shows all of them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import Machine
from measure import answer, at_best, make_folder, markdown_table, mean_f1
from torch import Tensor, nn

from tomopick.atomic import replacing
from tomopick.commands.sources import project_at
from tomopick.commands.train import read_recipe, train_project
from tomopick.inference.device import chosen_device
from tomopick.inference.engine import score_map
from tomopick.inference.peaks import find_peaks
from tomopick.models.heatmap_unet import CHANNELS, HeatmapUNet
from tomopick.models.modelfile import Model, load_model, save_model
from tomopick.models.registry import build, register
from tomopick.models.shipped import simulated_model
from tomopick.picks import Picks
from tomopick.processes import end_with_parent

TRAIN, JUDGED = ["TS_6_4", "TS_6_6", "TS_69_2", "TS_73_6"], "TS_86_3"
SPACING = 10.0  # Angstrom
SPHERES = {"positive_radius": 8.0, "positive_share": 0.5, "tversky": 1.0, "object_weight": None, "balance": 0.5}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "object weight 1": {"object_weight": 1, "known_share": 1.0},
    "object weight 16": {"object_weight": 16, "known_share": 1.0},
    "object weight 64": {"object_weight": 64, "known_share": 1.0},
    "object weight 256": {"object_weight": 256, "known_share": 1.0},
    "centres of 2 voxels": {"positive_radius": 2.0},
    "Gaussians": {"target": "gaussian", "positive_radius": 4.0},
    "spheres of 0.5 r, Tversky + CE": SPHERES,
    "focal loss, gamma 2": {"gamma": 2.0},
    "mixup 0.2": {"mixup": 0.2},
    "mixup 1.0": {"mixup": 1.0},
    "no moving average": {"ema": 0.0},
    "no spectrum, no tilts lost": {"augmentation": {"spectrum": 0.0, "wedge": 0.0}},
    "no spectrum": {"augmentation": {"spectrum": 0.0}},
    "no tilts lost": {"augmentation": {"wedge": 0.0}},
    "no shot noise": {"augmentation": {"shot_noise": 0.0}},
    "shot noise to 1.5": {"augmentation": {"shot_noise": 1.5}},
    "shot noise to 2": {"augmentation": {"shot_noise": 2.0}},
    "quarter turns about z": {"augmentation": {"rotations": "z"}},
    "fresh weights": {"init": "none"},
    "not turned": {"augmentation": {"turn": 0.0, "lean": 0.0, "scale": 0.0}},
    "turned by 15 degrees": {"augmentation": {"turn": 15.0}},
    "leaning by 30 degrees": {"augmentation": {"lean": 30.0}},
    "turned any way": {"augmentation": {"lean": 90.0}},
    "size tiny": {"arguments": {"size": "tiny"}},
    "size base": {"arguments": {"size": "base"}},
    "stride 4": {"model": "stride-4", "positions": 16, "known_share": 1.0},
    "stride 1": {"model": "stride-1", "positions": 64, "known_share": 1.0},
    "batch of 2": {"batch_size": 2},
    "crops of 96": {"positions": 48, "batch_size": 2},
    "crops of 48": {"positions": 24, "batch_size": 8},
    "SegResNet": {"model": "segresnet"},
    "DynUNet": {"model": "dynunet"},
}


@register("stride-4")
class StrideFour(HeatmapUNet):
    """HeatmapUNet without its last step up: a score every 4 voxels."""

    stride = 4

    def __init__(self, num_classes: int, size: str = "small") -> None:
        super().__init__(num_classes, size)
        del self.up1, self.joined1
        self.head = nn.Conv3d(CHANNELS[size][1], num_classes, 1)

    def embed(self, tile: Tensor) -> Tensor:
        second = self.down2(self.down1(tile))
        features: Tensor = self.joined2(torch.cat([self.up2(self.down3(second)), second], dim=1))
        return features


@register("stride-1")
class StrideOne(HeatmapUNet):
    """HeatmapUNet with one more step up, to 8 channels beside the tomogram's own voxels: a score for each of these."""

    stride = 1

    def __init__(self, num_classes: int, size: str = "small") -> None:
        super().__init__(num_classes, size)
        self.up0 = nn.ConvTranspose3d(CHANNELS[size][0], 8, 2, stride=2)
        self.joined0 = nn.Sequential(
            nn.Conv3d(9, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU(inplace=True)
        )
        self.head = nn.Conv3d(8, num_classes, 1)

    def embed(self, tile: Tensor) -> Tensor:
        features: Tensor = self.joined0(torch.cat([self.up0(super().embed(tile)), tile], dim=1))
        return features


def trained_start(network: str, path: Path) -> Path:
    """A model file of a network of another stride, with those weights that tomopick brings for HeatmapUNet's layers.

    Its head, which theirs does not fit, starts fresh.
    """
    brought = simulated_model("heatmap-unet")
    assert brought is not None
    given = load_model(brought)
    other: Any = build(network, given.spec.arguments)
    other.start_training()
    kept = {key: value for key, value in given.network.state_dict().items() if not key.startswith("head.")}
    other.load_state_dict(kept, strict=False)
    save_model(path, Model(other, given.spec.model_copy(update={"architecture": network})))
    return path


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with crops of the CZII challenge's runs")
    parser.add_argument("whole", type=Path, help="copick project with the same runs as whole tomograms")
    parser.add_argument("--box", type=int, nargs=2, default=(160, 475), metavar=("LOW", "HIGH"),
                        help="where in the whole the crops were cut, voxels of y and of x (%(default)s)")  # fmt: skip
    parser.add_argument("--harder", type=Path, metavar="CONFIG",
                        help="copick project with some of the runs, whole, under harder conditions")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all trials")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=6, help="training time of a trial (%(default)s)")
    length.add_argument("--epochs", type=int, help="or its epochs, which other work on the machine does not change")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(%(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--init", metavar="MODEL", help="start every trial from this model, simulated or none")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes that cut each trial's crops (as `tomopick train`)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time, each on one core (%(default)s)")
    return parser.parse_args()


@dataclass(frozen=True)
class Trial:
    """One training, and what the best thresholds reach: weighted F4, F4 by object, and mean F1; so on harder runs."""

    variant: str
    seed: int
    epochs: int
    minutes: float
    f4: float
    f1: float
    by_object: dict[str, float]
    harder_f4: float | None = None
    harder_f1: float | None = None


def trial(name: str, seed: int, args: argparse.Namespace, folder: Path) -> Trial:
    """Train one variant with one seed and judge it; the facts, also in FOLDER/trial.json."""
    torch.set_num_threads(1)
    make_folder(folder)
    length = {"epochs": args.epochs} if args.epochs else {"time_limit": args.minutes}
    asked = {"model": "heatmap-unet", "seed": seed, "init": args.init} | length | VARIANTS[name]
    if str(asked["model"]).startswith("stride"):
        asked["init"] = trained_start(str(asked["model"]), folder / "start.safetensors")
    recipe = read_recipe(None, asked)
    device = chosen_device(args.device)
    trained = train_project(
        args.config, folder, recipe, kind="wbp", spacing=None, training=TRAIN, validation=[JUDGED], resume=True,
        device=device, workers=args.workers,
    )  # fmt: skip
    model = load_model(trained.model)
    minutes = float(trained.history["minutes"].iloc[-1])
    scores = judged(model, args.whole, [*TRAIN, JUDGED], tuple(args.box), device)
    found = Trial(name, seed, len(trained.history), minutes, *scores)
    if args.harder:
        f4, f1, _ = judged(model, args.harder, project_at(args.harder).runs(), tuple(args.box), device)
        found = replace(found, harder_f4=f4, harder_f1=f1)
    with replacing(folder / "trial.json") as temporary:
        temporary.write_text(json.dumps(asdict(found), indent=2) + "\n")
    return found


def judged(
    model: Model, config: Path, runs: Sequence[str], box: tuple[int, int], device: str
) -> tuple[float, float, dict[str, float]]:
    """The best F4, mean F1, and F4 by object that any thresholds reach on these runs."""
    project, objects = project_at(config), model.spec.objects
    tomograms = [project.tomogram(run, "wbp") for run in runs]
    maps = (score_map(model, t, device=device, dtype="auto") for t in tomograms)
    picks = outside(Picks.join(find_peaks(one, objects) for one in maps), box)
    truth = outside(Picks.join(project.picks(run=run) for run in runs), box)

    f4, f1 = (at_best(picks, truth, objects, runs, beta) for beta in (4, 1))
    return f4.score, mean_f1(f1, objects), {n: s.f_beta for n, s in f4.by_object.items()}


def outside(picks: Picks, box: tuple[int, int]) -> Picks:
    """Those outside of the training crops, which were cut from this box of y and x; all of the judged run."""
    inside = ((picks.xyz()[:, :2] >= SPACING * box[0]) & (picks.xyz()[:, :2] < SPACING * box[1])).all(axis=1)
    return Picks(picks.table[~inside | (picks.table["run"] == JUDGED).to_numpy()])


def table_lines(trials: Sequence[Trial]) -> list[str]:
    """Means over seeds and each seed's value, by variant, as a Markdown table; the best F4 first."""
    tried = {name: mine for name in VARIANTS if (mine := [t for t in trials if t.variant == name])}
    best = sorted(tried, key=lambda name: -float(np.mean([t.f4 for t in tried[name]])))
    measures = {"f4": "F4", "f1": "mean F1"}
    if all(t.harder_f4 is not None for t in trials):
        measures |= {"harder_f4": "F4, harder", "harder_f1": "mean F1, harder"}
    rows = []
    for name in best:
        mine = tried[name]
        scores = [_with_spread([getattr(t, measure) for t in mine]) for measure in measures]
        each = [f"{np.mean([t.by_object[o] for t in mine]):.2f}" for o in mine[0].by_object]
        lengths = [f"{np.mean([t.epochs for t in mine]):.0f}", f"{np.mean([t.minutes for t in mine]):.1f}"]
        rows.append([name, *scores, *each, *lengths])
    objects = [f"F4 {o}" for o in trials[0].by_object]
    return markdown_table(
        ["variant", *(f"{title} (by seed)" for title in measures.values()), *objects, "epochs", "minutes"], rows
    )


def _with_spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})"


def main() -> None:
    """Run what trials are missing, and print the table."""
    args = parsed()
    make_folder(args.out)
    wanted = [
        (name, seed, args.out / f"{re.sub('[^a-z0-9]+', '_', name.lower())}-{seed}")
        for seed in args.seeds
        for name in args.variants
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context, initializer=end_with_parent, max_tasks_per_child=1) as pool:
        running = [
            pool.submit(trial, name, seed, args, folder)
            for name, seed, folder in wanted
            if not (folder / "trial.json").exists()
        ]
        for done in as_completed(running):
            one = done.result()
            harder = "" if one.harder_f4 is None else f"; harder {one.harder_f4:.3f}, {one.harder_f1:.3f}"
            print(f"{one.variant}, seed {one.seed}: F4 {one.f4:.3f}, F1 {one.f1:.3f}{harder}", flush=True)
    found = [Trial(**json.loads(path.read_text())) for path in sorted(args.out.glob("*/trial.json"))]
    print("\n".join([*Machine().lines(), "", *table_lines(found)]))


if __name__ == "__main__":
    answer(main)
