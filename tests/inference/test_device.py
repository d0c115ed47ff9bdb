"""Which device is chosen, on machines that are not this one."""

from __future__ import annotations

import pytest
import torch

from tomopick.errors import TomopickError
from tomopick.inference.device import chosen_device


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
