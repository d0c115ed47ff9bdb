"""How long CryoET3DCNN takes for a window: alone, in batches, in a training step, and in a dense pass.

    python benchmarks/window_time.py [--threads 2] [--repeats 10]

Also prints the peak of resident memory after inference and after training.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
from machine import peak_memory_gb
from torch.nn import functional

from tomopick.inference.engine import keep_freed_memory
from tomopick.models.cryoet3dcnn import CryoET3DCNN

WINDOW, CONTEXT, CLASSES = 64, 80, 7


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)


def inference(network: CryoET3DCNN, repeats: int) -> dict[str, float]:
    """Seconds for each window in evaluation."""
    found = {}
    with torch.inference_mode():
        for batch in (1, 8):
            windows = torch.randn(batch, 1, WINDOW, WINDOW, WINDOW)
            found[f"plain windows, batch {batch}"] = seconds(lambda w=windows: network(w), repeats) / batch
        context = torch.randn(1, 1, CONTEXT, CONTEXT, CONTEXT)
        found["one window in its context"] = seconds(lambda: network.classify(network.embed(context)), repeats)
        tile = torch.randn(1, 1, CONTEXT + 56, CONTEXT + 56, CONTEXT + 56)  # 8^3 windows at a stride of 8
        found["dense pass, 512 windows"] = seconds(lambda: network.classify(network.embed(tile)), repeats) / 512
    return found


def training(network: CryoET3DCNN, repeats: int, batch: int = 8) -> float:
    """Seconds for each plain window of a whole training step."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    windows = torch.randn(batch, 1, WINDOW, WINDOW, WINDOW)
    labels = torch.arange(batch) % CLASSES

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(windows), labels).backward()
        optimizer.step()

    return seconds(step, repeats) / batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls, of which the median counts")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    network = CryoET3DCNN(CLASSES)
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, PyTorch {torch.__version__}")
    for what, time_taken in inference(network.eval(), arguments.repeats).items():
        print(f"{what:32} {1000 * time_taken:9.2f} ms a window")
    print(f"{'peak resident memory':32} {peak_memory_gb():9.2f} GB")
    print(f"{'training step, batch 8':32} {1000 * training(network.train(), arguments.repeats):9.2f} ms a window")
    print(f"{'peak resident memory':32} {peak_memory_gb():9.2f} GB")


if __name__ == "__main__":
    main()
