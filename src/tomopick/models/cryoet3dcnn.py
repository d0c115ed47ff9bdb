"""CryoET3DCNN: the window classifier of the design document, and its dense use over whole tomograms."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tomopick.models.correlate import correlate
from tomopick.models.finer import Finer
from tomopick.models.registry import register
from tomopick.models.start import start_convolutions

__all__ = ["CryoET3DCNN"]

CHANNELS = (1, 32, 64, 128)
HIDDEN = 512
WIDTHS = (0.7, 1.0, 1.5, 2.2)  # deviations in cells of the Gaussians that hidden units start with
WORTH_TRANSFORMING = 2**19  # products for each pair of channels, above which Fourier transforms are faster
LEARNING_WIDTH = 1.5  # deviation in cells of how fast the first Linear learns


@register("cryoet3dcnn")
class CryoET3DCNN(nn.Module):
    """Three convolution blocks and a two-layer classifier, exactly as the design document gives them.

    ``features``: three times Conv3d(kernel 3, padding 1), [BatchNorm3d], ReLU, MaxPool3d(2), with channels 1, 32, 64,
    128. ``classifier``: Linear(128 (window/8)^3, 512), ReLU, Dropout(0.5), Linear(512, num_classes). Convolution
    weights start Kaiming normal (fan_out, relu). Without batch norm the names of the ``state_dict`` are those of the
    document's plain ``nn.Sequential`` modules, and one of these loads.

    Training and picking do not call `forward` on lone windows: the zero padding of a lone window reaches its outer
    feature cells, which nothing computed over a whole tomogram can repeat. They call `embed` and `classify`, in which
    a window is seen in its context: 8 more voxels on each side, whose outermost feature cells are dropped. The window
    of the score at voxel ``c`` covers ``c - window/2 <= voxel < c + window/2``.

    Args:
        num_classes: objects + 1; the last class is background.
        batch_norm: put BatchNorm3d after each convolution.
        window: edge of the cubic window in voxels, a multiple of 8.

    Raises:
        ValueError: fewer than 2 classes, or a window that is not a positive multiple of 8.
    """

    stride = 8
    halo = 8  # the convolutions reach 1 + 2 + 4 = 7 voxels: one feature cell
    context = 0
    align = 8
    recipe: ClassVar[dict[str, Any]] = {}

    def __init__(self, num_classes: int, batch_norm: bool = True, window: int = 64) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; give at least 2 (one object and background)")
        if window < 8 or window % 8:
            raise ValueError(f"window is {window}; give a positive multiple of 8 voxels")
        self.window = window
        self.num_classes = num_classes
        self.reach = window // 8
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(CHANNELS):
            layers.append(nn.Conv3d(inputs, outputs, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm3d(outputs))
            layers += [nn.ReLU(inplace=True), nn.MaxPool3d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(CHANNELS[-1] * self.reach**3, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, num_classes),
        )
        start_convolutions(self)

    @property
    def head(self) -> nn.Module:
        """The last Linear."""
        return self.classifier[3]

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (B, num_classes) of plain windows (B, 1, window, window, window), as in the design document."""
        logits: Tensor = self.classifier(self.features(windows).flatten(1))
        return logits

    @torch.no_grad()
    def start_training(self) -> dict[str, Tensor]:
        """Start the classifier with an eye for the middle of the window, where the particle is.

        Of the first Linear's 65,536 inputs a few thousand lie in the particle; the rest is its neighbourhood. Each
        hidden unit starts as a random mixture of channels under a Gaussian about the middle, of one of four widths,
        with a little noise, and the last layer starts near zero, so that the loss begins at even odds.

        Returns:
            By parameter name, how fast each weight learns, 0 to 1, in the parameter's shape: the first Linear's inputs
            learn the slower the further they are from the middle.
        """
        first, last = self.classifier[0], self.classifier[3]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        squared = (torch.arange(self.reach) + 0.5 - self.reach / 2).square()
        distance = squared[:, None, None] + squared[:, None] + squared
        widths = torch.tensor(WIDTHS).repeat(HIDDEN // len(WIDTHS))[:, None, None, None]
        middle = torch.exp(-distance / (2 * widths**2))
        middle /= middle.sum(dim=(1, 2, 3), keepdim=True)
        learning = torch.exp(-distance / (2 * LEARNING_WIDTH**2))
        channels = CHANNELS[-1]
        mixture = torch.randn(HIDDEN, channels) / channels**0.5
        noise = torch.randn(HIDDEN, channels, *distance.shape) * learning / (channels * learning.sum()).sqrt()
        first.weight.copy_((mixture[:, :, None, None, None] * middle[:, None] + 0.2 * noise).flatten(1))
        nn.init.zeros_(first.bias)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)
        return {"classifier.0.weight": learning.expand(HIDDEN, channels, *distance.shape).flatten(1)}

    def embed(self, tile: Tensor) -> Tensor:
        """Feature cells (B, 128, D/8 - 2, H/8 - 2, W/8 - 2) of a tile (B, 1, D, H, W), edges multiples of 8.

        The outermost cells are dropped, so that no value depends on where the tile ends.
        """
        cells = tile
        for layer in self.features:
            # the pooled maximum of rectified values is the rectified maximum: rectifying an eighth of them is enough,
            # and pooling needs no more precision than it is given
            if isinstance(layer, nn.ReLU):
                continue
            if isinstance(layer, nn.MaxPool3d):
                with torch.autocast(tile.device.type, enabled=False):
                    cells = functional.relu(layer(cells), inplace=True)
            else:
                cells = layer(cells)
        return cells[:, :, 1:-1, 1:-1, 1:-1]

    def classify(self, cells: Tensor) -> Tensor:
        """Logits (B, num_classes, d - reach + 1, ...) of feature cells (B, 128, d, h, w).

        The first Linear acts as a convolution with a kernel of reach^3 cells. In training each position drops its own
        hidden units.
        """
        hidden = self._first_of_few(cells) if torch.is_grad_enabled() else self._first_of_many(cells)
        logits: Tensor = self.classifier[1:](hidden)
        return logits.movedim(-1, 1)

    def finer(self, stride: int) -> Finer:
        """The same scores and those between them, so many voxels apart, but at least 2: cells take memory."""
        return Finer(self.features, self.classify, self.reach, max(2, stride))

    def _first_of_many(self, cells: Tensor) -> Tensor:
        """The first Linear at each position, channels last: as a convolution, which needs no copies of the cells."""
        first = self.classifier[0]
        assert isinstance(first, nn.Linear)
        kernel = first.weight.view(HIDDEN, CHANNELS[-1], *[self.reach] * 3)
        convolved = correlate if self._worth_transforming(cells) else functional.conv3d
        return convolved(cells, kernel, first.bias).movedim(1, -1)

    def _worth_transforming(self, cells: Tensor) -> bool:
        # those who export a network follow its layers, and have no transforms of their own
        exporting = torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if cells.device.type != "cpu" or exporting:
            return False
        positions = math.prod(n - self.reach + 1 for n in cells.shape[2:])
        return positions * self.reach**3 >= WORTH_TRANSFORMING

    def _first_of_few(self, cells: Tensor) -> Tensor:
        """The same from a copy of the cells for each position: its gradient is several times faster."""
        windows = cells
        for axis in (2, 3, 4):
            windows = windows.unfold(axis, self.reach, 1)
        hidden: Tensor = self.classifier[0](windows.movedim(1, 4).flatten(4))
        return hidden
