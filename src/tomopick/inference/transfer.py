"""Copies between the processor's memory and a device's, beside what both compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Transfer"]


class Transfer:
    """Brings densities to a device and scores back; where that is the CPU nothing is copied.

    A GPU is given densities from pinned memory on a stream of its own, so that what it computes need not wait for them,
    and fills pinned memory with scores, so that the processor need not wait for these before it asks for more.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def there(self, densities: NDArray[np.float32]) -> Tensor:
        """Contiguous densities (z, y, x) on the device, as a batch of one, channels last.

        It waits until they are there, so another thread than the one that computes may want to call it.
        """
        batch = torch.from_numpy(densities)[None, ..., None]
        if self._uploads is None:
            return batch.to(self._device).movedim(-1, 1)
        with torch.cuda.stream(self._uploads):
            copied = batch.pin_memory().to(self._device, non_blocking=True)
        # else the next densities might be put where these are still read from
        copied.record_stream(torch.cuda.default_stream(self._device))
        self._uploads.synchronize()
        return copied.movedim(-1, 1)

    def back(self, scores: Tensor) -> Callable[[], NDArray[np.float32]]:
        """What gives the scores once it is called, and waits for them then only."""
        if self._uploads is None:
            found = scores.cpu().numpy()
            return lambda: found
        pinned = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
        pinned.copy_(scores, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.default_stream(self._device))

        def wait() -> NDArray[np.float32]:
            copied.synchronize()
            return pinned.numpy()

        return wait
