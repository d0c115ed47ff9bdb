"""Densities to a device and scores back: what was sent is what arrives, whatever is computed meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tomopick.inference.transfer import Transfer

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_what_arrives_is_what_was_sent(device):
    transfer, rng = Transfer(torch.device(device)), np.random.default_rng(0)
    slabs = [rng.normal(size=(8, 64, 96)).astype(np.float32) for _ in range(12)]
    found = []
    with ThreadPoolExecutor(1) as reader:  # as inference does: the next is sent while one is computed
        coming = reader.submit(transfer.there, slabs[0])
        for number in range(len(slabs)):
            batch = coming.result()
            if number + 1 < len(slabs):
                coming = reader.submit(transfer.there, slabs[number + 1])
            for _ in range(5):
                batch = batch + 1
            found.append(transfer.back(batch[0, 0]))
            del batch
    for slab, back in zip(slabs, found, strict=True):
        np.testing.assert_allclose(back(), slab + 5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_of_one_has_channels_last_as_convolutions_want_it(device):
    densities = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    batch = Transfer(torch.device(device)).there(densities)
    assert batch.shape == (1, 1, 4, 5, 6)
    # of one channel PyTorch cannot tell from the shape alone, so layers of more go by the strides
    assert batch.stride() == (120, 1, 30, 6, 1)
    assert np.array_equal(batch[0, 0].cpu().numpy(), densities)
