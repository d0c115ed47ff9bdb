"""Models that come with the package: where a training starts that was given none."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SIMULATED", "simulated_model"]

SIMULATED = "simulated"
"""What a recipe calls a start from weights that were trained on tomopick's own phantoms."""

_FOLDER = Path(__file__).parent / "weights"


def simulated_model(architecture: str) -> Path | None:
    """The model file of a network that was trained on `tomopick simulate --vary`, if there is one.

    docs/results.md says how it was trained; it is a model as any other.
    """
    path = _FOLDER / f"{architecture}.safetensors"
    return path if path.is_file() else None
