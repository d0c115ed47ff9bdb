"""Commands run for real in this process, on a small phantom project and a model trained on it for two epochs."""

from __future__ import annotations

import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tomopick import cli, open_project
from tomopick.io.tomograms import write_mrc

RECIPE = {
    "arguments": {"window": 16},
    "precision": "fp32",
    "epochs": 2,
    "positions": 1,
    "background": 1.0,
    "mine_from": 1,
    "mine_every": 1,
}


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote to the terminal."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines on standard error that are no notices."""
        return [line for line in self.err.splitlines() if not line.startswith("notice: ")]


Command = Callable[..., Outcome]


def run_command(*arguments: object, user_warnings: bool = False) -> Outcome:
    """Run ``tomopick`` with these arguments; any warning is an error unless `user_warnings`."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["tomopick", *map(str, arguments)])
        if user_warnings:
            warnings.simplefilter("always", UserWarning)
        with pytest.raises(SystemExit) as left:
            cli.main()
    return Outcome(int(left.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def command() -> Command:
    return run_command


@pytest.fixture
def succeed() -> Command:
    """Run a command that must succeed and have nothing to complain of."""

    def run(*arguments: object, **options: bool) -> Outcome:
        outcome = run_command(*arguments, **options)
        assert (outcome.code, outcome.complaints) == (0, []), outcome
        return outcome

    return run


@pytest.fixture
def refuse() -> Command:
    """Run a command that must end with exit code 2 and one line that says all of the given words."""

    def run(*arguments: object, says: tuple[str, ...]) -> Outcome:
        outcome = run_command(*arguments)
        assert outcome.code == 2, outcome
        assert len(outcome.complaints) == 1, outcome.err
        line = outcome.complaints[0]
        assert line.startswith("error: ")
        assert [word for word in says if word not in line] == [], line
        return outcome

    return run


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.json, truth.csv and three runs; tests that write into it take `project` instead."""
    folder = tmp_path_factory.mktemp("phantom") / "project"
    outcome = run_command("simulate", folder, "--runs", 3, "--shape", 48, 64, 64, "--seed", 1)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture(scope="session")
def training(phantom: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training on SIM_0, validated on SIM_1."""
    folder = tmp_path_factory.mktemp("training") / "first"
    outcome = run_command(
        "train", phantom, "--out", folder, "--recipe", recipe, "--train-runs", "SIM_0", "--val-runs", "SIM_1"
    )
    assert (outcome.code, outcome.complaints) == (0, []), outcome
    return folder


@pytest.fixture(scope="session")
def model(training: Path) -> Path:
    return training / "model.safetensors"


@pytest.fixture
def project(phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom project's folder, to write into."""
    folder = tmp_path / "copy"
    shutil.copytree(phantom, folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace(str(phantom.resolve()), str(folder.resolve())))
    return folder


@pytest.fixture(scope="session")
def mrc_files(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three tomograms as SIM_0.mrc to SIM_2.mrc; copied by tests that change them."""
    folder = tmp_path_factory.mktemp("mrc")
    source = open_project(phantom / "config.json")
    for run in source.runs:
        tomogram = source.tomogram(run, "wbp")
        write_mrc(folder / f"{run}.mrc", tomogram[:, :, :], tomogram.spacing)
    return folder


@pytest.fixture
def lab(mrc_files: Path, tmp_path: Path) -> Path:
    """A copy of the folder of MRC files, to break."""
    return Path(shutil.copytree(mrc_files, tmp_path / "lab"))
