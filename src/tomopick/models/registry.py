"""Networks by name: a new one is one file and one `register` line."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from tomopick.errors import ModelFileError

__all__ = ["DenseNetwork", "Refinable", "build", "choices", "names", "register", "takes"]

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}
# by name, since a module is imported when its network is asked for: MONAI alone takes seconds
_MODULES = {
    "cryoet3dcnn": "tomopick.models.cryoet3dcnn",
    "heatmap-unet": "tomopick.models.heatmap_unet",
    "segresnet": "tomopick.models.segresnet",
    "dynunet": "tomopick.models.dynunet",
}


@runtime_checkable
class DenseNetwork(Protocol):
    """What every network offers to training and inference, beside being an ``nn.Module``.

    A score at voxel ``c`` sees ``c - lead <= voxel < c - lead + field`` along each axis. Both halves below take
    and give batches: ``embed`` maps a tile (B, 1, D, H, W) to cells (B, F, D/stride - 2 halo/stride, ...), and
    ``classify`` maps cells to logits (B, C, cells - reach + 1, ...), the last class being background. They are two,
    because ``embed`` is local and tiles well, while ``classify`` may look at many cells.

    Attributes:
        stride: voxels between cells, and between scores.
        halo: voxels at each side of a tile that ``embed`` uses up.
        reach: cells along each axis that one score is made of.
        context: voxels around a tile on which its cells depend though ``embed`` does without them, by padding with
            zeros, as it does at the borders of a training crop and of a tomogram; 0 where the halo is all.
        align: a tile must start and end at a multiple of this many voxels, to be computed as the whole would be.
        head: the last layer, whose weights have a row for each class.
        recipe: the choices of a training that differ from `Recipe`'s own defaults.
    """

    stride: int
    halo: int
    reach: int
    context: int
    align: int
    recipe: ClassVar[dict[str, Any]]

    @property
    def head(self) -> nn.Module: ...

    def start_training(self) -> dict[str, Tensor]: ...

    def embed(self, tile: Tensor) -> Tensor: ...

    def classify(self, cells: Tensor) -> Tensor: ...


@runtime_checkable
class Refinable(Protocol):
    """A network that gives scores between its own, sooner than one pass for each shift of the tomogram does."""

    def finer(self, stride: int) -> DenseNetwork: ...


def lead(network: DenseNetwork) -> int:
    """Voxels that a score sees before its own voxel, along each axis, its context apart.

    Half of its `field` where that is a window about it; none where each cell has a score, which is its first voxel's.
    """
    return 0 if network.context else field(network) // 2


def field(network: DenseNetwork) -> int:
    """Voxels that one score sees, along each axis, its context apart."""
    return 2 * network.halo + network.reach * network.stride


def register(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator that makes a network known by this name."""

    def enter(network: type[nn.Module]) -> type[nn.Module]:
        _BUILDERS[name] = network
        return network

    return enter


def names() -> list[str]:
    """Names of all networks, sorted."""
    return sorted({*_MODULES, *_BUILDERS})


def choices(name: str) -> dict[str, Any]:
    """The choices of a training that a network asks for, where they differ from `Recipe`'s defaults.

    Raises:
        ModelFileError: the name is unknown.
    """
    return dict(_builder(name).recipe)  # type: ignore[attr-defined]


def _builder(name: str) -> Callable[..., nn.Module]:
    if name in _MODULES:
        import_module(_MODULES[name])
    if name not in _BUILDERS:
        raise ModelFileError(f"unknown network '{name}'; known: {', '.join(names())}")
    return _BUILDERS[name]


def takes(name: str, argument: str) -> bool:
    """Whether a network has this argument.

    Raises:
        ModelFileError: the name is unknown.
    """
    return argument in signature(_builder(name)).parameters


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Raises:
        ModelFileError: the name or an argument is unknown, or a value is out of range.
    """
    builder = _builder(name)
    try:
        return builder(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:  # the last: more than the memory, or a tensor, can hold
        first = str(error).splitlines()[0]
        raise ModelFileError(f"network '{name}' cannot be built with {arguments}: {first}") from error
