"""Names, options and help of `tomopick evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Objects, Runs, above_zero

__all__ = ["evaluate"]


def evaluate(
    truth: Annotated[Path, typer.Option(help="copick project or file of true particles.")],
    picks: Annotated[Path, typer.Option(help="copick project or file of picks.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there too.")] = None,
    beta: Annotated[
        float, typer.Option(help="Recall counts beta times as much as precision.", callback=above_zero)
    ] = 4.0,
    runs: Runs = None,
    objects: Objects = None,
    user: Annotated[str | None, typer.Option(help="Of a project's truth: this user's picks.")] = None,
    session: Annotated[str | None, typer.Option(help="Of a project's picks: this model's.")] = None,
) -> None:
    """Score picks against the truth as the CZII challenge does (weighted F-beta), with precision, recall and more.

    Examples:

    `tomopick evaluate --truth project/config.json --picks picks.csv --runs TS_5,TS_6`

    `tomopick evaluate --truth truth.csv --picks picks.csv --object mine=80 --json scores.json`
    """
    from tomopick.commands.evaluate import evaluate_files
    from tomopick.commands.sources import split_names

    evaluate_files(
        truth, picks, beta=beta, runs=split_names(runs), objects=objects or [], user=user, session=session,
        json_path=json_file,
    )  # fmt: skip
