"""`tomopick memory`: where a network's memory goes, layer by layer."""

from __future__ import annotations

from pathlib import Path

from tomopick.atomic import replacing, writing_into
from tomopick.commands.screen import out, table
from tomopick.errors import TomopickError
from tomopick.models.memory import largest_batch, measure_memory
from tomopick.models.registry import build, takes
from tomopick.plots import plot_memory

__all__ = ["measure"]

MB = ("parameters_mb", "computed_mb", "inference_mb", "training_mb")


def measure(folder: Path, model: str, window: int, batch: int, classes: int, device: str) -> None:
    """Measure a network, print it, and write memory.json, memory.csv and memory_usage.png into the folder."""
    network = build(model, {"num_classes": classes} | ({"window": window} if takes(model, "window") else {}))
    try:
        with writing_into(folder):
            report = measure_memory(network, (batch, 1, window, window, window), device)
    except (RuntimeError, MemoryError) as error:
        raise TomopickError(f"cannot run a batch of {batch} on {device}: {str(error).splitlines()[0]}") from error
    with replacing(folder / "memory.json") as temporary:
        temporary.write_text(report.to_json() + "\n")
    with replacing(folder / "memory.csv") as temporary:
        report.layers.to_csv(temporary, index=False)
    caption = plot_memory(report.bars, folder / "memory_usage.png")
    rows = [
        [str(row["name"]), str(row["kind"]), *(f"{row[c]:.2f}" for c in MB)]
        for row in report.layers.to_dict(orient="records")
    ]
    title = f"{model}, batch {batch}, {classes} classes, MB of 10^6 bytes"
    table(title, ["layer", "kind", *(c.removesuffix("_mb") for c in MB)], rows)
    table("In all, MB", ["", "MB"], [[k.removesuffix("_mb"), f"{v:.1f}"] for k, v in report.totals.items()])
    for gigabytes in (8, 16):
        most = largest_batch(report, gigabytes)
        out.print(f"computed: {gigabytes} GB hold a training batch of {most} windows", highlight=False)
    out.print(f"{folder / 'memory_usage.png'}: {caption}", highlight=False, markup=False, soft_wrap=True)
