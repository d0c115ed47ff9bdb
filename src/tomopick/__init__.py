"""Find and classify protein particles in cryo-electron tomograms.

    import tomopick as tp

    tomogram = tp.read_tomogram("ts.mrc")
    model = tp.load_model("model.safetensors")
    picks = tp.pick(model, tomogram)

Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tomopick.errors import TomopickError
    from tomopick.evaluation import evaluate
    from tomopick.inference.engine import score_map
    from tomopick.inference.picking import pick
    from tomopick.inference.scoremap import ScoreMap
    from tomopick.io.picks import read_picks, write_picks
    from tomopick.io.project import open_project
    from tomopick.io.tomograms import read_tomogram
    from tomopick.models.cryoet3dcnn import CryoET3DCNN
    from tomopick.models.losses import FocalLoss
    from tomopick.models.modelfile import load_model
    from tomopick.objects import CZII_OBJECTS, ParticleObject
    from tomopick.picks import Picks
    from tomopick.tomogram import Tomogram

_HOMES = {
    "CZII_OBJECTS": "objects",
    "CryoET3DCNN": "models.cryoet3dcnn",
    "FocalLoss": "models.losses",
    "ParticleObject": "objects",
    "Picks": "picks",
    "ScoreMap": "inference.scoremap",
    "TomopickError": "errors",
    "Tomogram": "tomogram",
    "evaluate": "evaluation",
    "load_model": "models.modelfile",
    "open_project": "io.project",
    "pick": "inference.picking",
    "read_picks": "io.picks",
    "read_tomogram": "io.tomograms",
    "score_map": "inference.engine",
    "write_picks": "io.picks",
}

__all__ = [
    "CZII_OBJECTS",
    "CryoET3DCNN",
    "FocalLoss",
    "ParticleObject",
    "Picks",
    "ScoreMap",
    "Tomogram",
    "TomopickError",
    "evaluate",
    "load_model",
    "open_project",
    "pick",
    "read_picks",
    "read_tomogram",
    "score_map",
    "write_picks",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tomopick' has no attribute '{name}'")
    return getattr(import_module(f"tomopick.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
