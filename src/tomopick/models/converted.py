"""Models whose networks run elsewhere, each converted once and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from tomopick.atomic import writing_into
from tomopick.cache import cache_folder
from tomopick.errors import TomopickError
from tomopick.models.exported import FORMATS, Exported, export, exported_network
from tomopick.models.modelfile import Model

__all__ = ["converted"]

EDITION = 1  # a higher one where `export` writes another network than before


def converted(model: Model, form: str) -> Model:
    """The model with its network in one of `FORMATS`, as it was converted before if it was.

    Converted networks lie in the user's cache folder, under a digest of the weights and what they are weights of.

    Raises:
        TomopickError: the format's library is not installed, or the folder cannot be written.
    """
    path = cache_folder() / "networks" / (_digest(model) + FORMATS[form])
    return replace(model, network=_kept(model, path) or _made(model, form, path))


def _kept(model: Model, path: Path) -> Exported | None:
    """The network of a file, or None where there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        return exported_network(path, model.network)
    except TomopickError:
        raise
    except Exception:  # of a damaged file each library says so in its own way
        return None


def _made(model: Model, form: str, path: Path) -> Exported:
    with writing_into(path.parent):
        export(model, path, form)
    return exported_network(path, model.network)


def _digest(model: Model) -> str:
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    built = json.dumps([EDITION, model.spec.architecture, model.spec.arguments], sort_keys=True)
    return hashlib.sha256(built.encode() + save(weights)).hexdigest()
