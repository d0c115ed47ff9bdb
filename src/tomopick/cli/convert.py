"""Names, options and help of `tomopick convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Annotations, Kind, Runs, Spacing

__all__ = ["convert"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File of picks, or a copick project.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="By its ending: .csv, .star, .cmm, .mod, .ndjson, .tbl, .cxc, .json or .url.",
        ),
    ],
    tomograms: Annotated[
        list[Path] | None,
        typer.Option(
            help="Tomograms, whose sizes RELION 5's centred coordinates need, or RELION's tomograms.star; repeatable."
        ),
    ] = None,
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    object_name: Annotated[str | None, typer.Option("--object", help="The object, where IN does not name any.")] = None,
    annotated: Annotations = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="STAR in pixels of --voxel-spacing, not centred.")] = False,
    runs: Runs = None,
    objects: Annotated[str | None, typer.Option(help="Only these objects, separated by commas.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only picks of this score or a higher one.")] = None,
    link: Annotated[
        str | None,
        typer.Option(help="Where ChimeraX or neuroglancer finds the tomogram, as in zarr://https://..."),
    ] = None,
) -> None:
    """Write picks in another format, which the name of OUT tells. Coordinates are kept; scores where it can.

    `.csv` is the CZII submission form, `.star` RELION's, `.cmm` ChimeraX markers, `.mod` an IMOD model and `.ndjson`
    points of the CryoET Data Portal, `.tbl` a Dynamo table with its map of tomograms beside it as `.doc`. `.cxc` is a
    script for ChimeraX with its markers beside it, `.json` a state of neuroglancer, and `.url` a link that holds that
    state. Of these only CSV, STAR, markers and tables hold several tomograms.

    Examples:

    `tomopick convert picks.csv picks.star --tomograms project/config.json`

    `tomopick convert picks.star ribosome.star --objects ribosome --min-score 0.5`, one object for RELION

    `tomopick convert picks.star picks.cmm --tomograms tomograms/`, to open with the tomogram in ChimeraX

    `tomopick convert picks.csv TS_1.mod --tomograms tomograms/ --runs TS_1`, for `3dmod TS_1.mrc TS_1.mod`

    `tomopick convert picks.csv TS_1.cxc --tomograms TS_1.mrc --runs TS_1`, for `chimerax TS_1.cxc`
    """
    from tomopick.commands.convert import convert_picks
    from tomopick.commands.sources import split_names

    convert_picks(
        source, target, tomograms=tomograms or [], kind=tomogram, spacing=voxel_spacing, object_name=object_name,
        annotated=annotated, pixels=pixels, runs=split_names(runs), objects=split_names(objects), min_score=min_score,
        place=link,
    )  # fmt: skip
