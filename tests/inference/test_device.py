"""Which device is chosen, on machines that are not this one."""

from __future__ import annotations

import pytest
import torch

from tomopick.errors import TomopickError
from tomopick.inference import device
from tomopick.inference.device import chosen_device, chosen_dtype, device_in_turn, sharing


@pytest.mark.parametrize(
    ("cuda", "mps", "auto"), [(False, False, "cpu"), (True, False, "cuda"), (False, True, "cpu"), (True, True, "cuda")]
)
def test_auto_is_the_gpu_that_was_tested_or_the_processor(cuda, mps, auto, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert chosen_device("auto") == chosen_device("auto", "auto") == auto
    assert chosen_device("auto", "openvino") == "cpu"
    assert chosen_device("cpu") == "cpu"
    for name, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert chosen_device(name) == name
        else:
            with pytest.raises(TomopickError, match=f"no {name}; use --device cpu"):
                chosen_device(name)


@pytest.mark.parametrize("there", [True, False])
def test_bfloat16_is_refused_where_the_processor_has_none(there, monkeypatch):
    monkeypatch.setattr(device, "computes_bf16", lambda: there)
    assert chosen_dtype("bf16", "cuda") == "bf16"
    assert chosen_dtype("fp32", "cpu") == "fp32"
    if there:
        assert chosen_dtype("bf16", "cpu") == "bf16"
    else:
        with pytest.raises(TomopickError, match="this processor cannot compute in bf16; choose fp32 or auto"):
            chosen_dtype("bf16", "cpu")


def test_processes_share_cuda_devices_in_turns_and_others_as_they_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # no machine of ours has two
    assert (sharing("cuda"), sharing("cpu")) == (2, 1)
    assert [device_in_turn("cuda", place) for place in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_in_turn("cpu", 1) == "cpu"
