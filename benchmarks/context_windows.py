"""How far the scores of plain 64^3 windows are from those of the same windows seen in their 80^3 context.

    python benchmarks/context_windows.py                       # freshly initialised networks
    python benchmarks/context_windows.py model.safetensors     # and a trained one

Windows stand on the particles of a simulated tomogram and on as many random places.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from tomopick.data.normalise import scaling_of
from tomopick.geometry import voxel_from_angstrom
from tomopick.models.cryoet3dcnn import CryoET3DCNN
from tomopick.models.modelfile import load_model
from tomopick.models.registry import field, lead
from tomopick.recipe import Normalisation
from tomopick.simulate import simulate_run


def crops(network: CryoET3DCNN, normalisation: Normalisation, count: int) -> torch.Tensor:
    """Context crops (N, 1, 80, 80, 80), the first half about particles."""
    tomogram, truth = simulate_run("CONTEXT")
    scaling = scaling_of(tomogram, normalisation)
    rng = np.random.default_rng(0)
    places = voxel_from_angstrom(truth.table[["x", "y", "z"]].to_numpy(), tomogram.spacing)
    chosen = rng.permutation(places)[: count // 2]
    random = rng.uniform(0, np.array(tomogram.shape) - 1, (count - len(chosen), 3))
    edge = field(network)
    found = []
    for place in np.concatenate([chosen, random]):
        z, y, x = (round(c) - lead(network) for c in place.tolist())
        found.append(scaling(tomogram.read((z, y, x), (z + edge, y + edge, x + edge))))
    return torch.from_numpy(np.stack(found))[:, None]


@torch.inference_mode()
def scores(network: CryoET3DCNN, contexts: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (N, classes) of the plain windows, and of the windows in their context."""
    rim = network.halo
    plain, dense = [], []
    for context in contexts.split(1):
        plain.append(network(context[:, :, rim:-rim, rim:-rim, rim:-rim]))
        dense.append(network.classify(network.embed(context))[:, :, 0, 0, 0])
    return torch.cat(plain).softmax(1).numpy(), torch.cat(dense).softmax(1).numpy()


@torch.no_grad()
def settle(network: CryoET3DCNN, contexts: torch.Tensor) -> None:
    """Give the batch norms of an untrained network the statistics of these crops."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.momentum = None  # the plain average over batches
    for batch in contexts.split(4):
        network.features(batch)


def report(name: str, network: CryoET3DCNN, normalisation: Normalisation, count: int) -> None:
    contexts = crops(network, normalisation, count)
    if network.training:
        settle(network, contexts)
    plain, dense = scores(network.eval(), contexts)
    apart = np.abs(plain - dense)
    changed = (plain.argmax(1) != dense.argmax(1)).mean()
    spread = dense.std(axis=0).max()
    print(f"{name:32} {apart.mean():8.4f} {apart.max():8.4f} {spread:8.4f} {changed:8.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a trained CryoET3DCNN, as `tomopick train` leaves it")
    parser.add_argument("--windows", type=int, default=32, help="how many windows are looked at")
    arguments = parser.parse_args()
    print(f"{'network':32} {'mean':>8} {'most':>8} {'spread':>8} {'changed':>8}")
    for batch_norm in (False, True):
        torch.manual_seed(0)
        name = f"untrained, {'with' if batch_norm else 'without'} batch norm"
        report(name, CryoET3DCNN(7, batch_norm=batch_norm), Normalisation(), arguments.windows)
    if arguments.model:
        model = load_model(arguments.model)
        report(model.name, model.network, model.spec.normalisation, arguments.windows)
    print("mean, most: of |difference| of a probability; spread: its largest standard deviation over the windows;")
    print("changed: windows whose likeliest class is another.")


if __name__ == "__main__":
    main()
