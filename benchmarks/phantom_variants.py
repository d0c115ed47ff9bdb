"""Make phantom tomograms of other conditions than the ordinary ones, to see what a trained model stands.

Runs the phantom generator whose path is given, with another seed or another setting of its Scope and nothing else:

- seed: seed 1, so other orientations, crowders and noise;
- noise: half as much noise again;
- imaging: 4.5 um defocus, and tilts to 50 degrees only;
- crowded: 600 crowders, of masses that the ordinary set does not have.

The variants are our own guesses of harder conditions. Use them to measure: a model that was tuned on them tells nothing
by its score on them. Except for "seed" they have the orientations of the ordinary set, so that a run differs from its
ordinary twin by the condition alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from measure import answer

from tomopick.errors import DataError


@dataclass(frozen=True)
class Variant:
    """A seed, and the fields of the generator's Scope that differ from its defaults."""

    seed: int = 0
    scope: Mapping[str, object] = field(default_factory=dict)


VARIANTS = {
    "seed": Variant(seed=1),
    "noise": Variant(scope={"noise": 1.5}),
    "imaging": Variant(scope={"defocus_um": 4.5, "tilt_max": 50.0}),
    # masses in kDa by template: half as much again to twice the ordinary ones
    "crowded": Variant(scope={"crowders": 600, "crowder_mass": {"1s3x": 80, "1u6g": 360, "1bxn": 850}}),
}


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path, metavar="MAKE_PHANTOM", help="make_phantom.py, beside its data")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the copick project")
    parser.add_argument("--variant", choices=VARIANTS, required=True)
    parser.add_argument("--runs", nargs="+", default=["TS_5_4", "TS_99_9"], metavar="RUN", help="(%(default)s)")
    parser.add_argument("--crop", choices=("full", "half", "quarter"), default="quarter", help="(%(default)s)")
    return parser.parse_args()


def generator_at(path: Path) -> ModuleType:
    """The generator, loaded from its file.

    Raises:
        DataError: there is no such file, or it is not the generator.
    """
    if not path.is_file() or path.suffix != ".py":
        raise DataError(f"there is no generator {path}; give the path of make_phantom.py")
    spec = importlib.util.spec_from_file_location("phantom_generator", path)
    if spec is None or spec.loader is None:
        raise DataError(f"cannot load {path} as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their own module
    spec.loader.exec_module(module)
    missing = [name for name in ("Scope", "read_layouts", "write_project") if not hasattr(module, name)]
    if missing:
        raise DataError(f"{path} is not the phantom generator: it has no {', '.join(missing)}")
    return module


def main() -> None:
    """Make the project of one variant."""
    args = parsed()
    generator = generator_at(args.generator)
    unknown = sorted(set(args.runs) - set(generator.read_layouts()))
    if unknown:
        raise DataError(
            f"the generator has no layout of {', '.join(unknown)}; it has {', '.join(generator.read_layouts())}"
        )
    if (args.out / "config.json").exists():
        raise DataError(f"{args.out} holds a project already; choose another folder")
    variant = VARIANTS[args.variant]
    generator.write_project(args.out, args.runs, args.crop, variant.seed, generator.Scope(**variant.scope))


if __name__ == "__main__":
    answer(main)
