from pathlib import Path

import numpy as np
import pytest

from tomopick.commands.corrections import corrected_runs
from tomopick.errors import DataError
from tomopick.io.corrections import Correction, Corrections
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram
from tomopick.training.run import TrainingRun

OBJECTS = (ParticleObject(name="ring", radius=60, label=1), ParticleObject(name="ball", radius=80, label=2))


def run(name: str, picks: Picks | None = None) -> TrainingRun:
    return TrainingRun(Tomogram(np.zeros((50, 60, 70), np.float32), 10.0, name), picks or Picks.empty())


def word(run: str, name: str, xyz: tuple[float, float, float], verdict: str, was: str) -> Correction:
    return Correction(run, name, *xyz, 0.5, verdict, was)


@pytest.fixture
def said(tmp_path: Path) -> Path:
    one = Corrections(tmp_path / "said.csv")
    for name in ("TS_1", "TS_2"):
        one.say(word(name, "ring", (100, 100, 100), "accepted", "ring"))
        one.say(word(name, "ball", (300, 100, 100), "accepted", "ring"))
        one.say(word(name, "ring", (500, 100, 100), "rejected", "ring"))
        one.say(word(name, "ball", (300, 300, 300), "added", ""))
    return one.path


def found(picks: Picks) -> list[tuple[str, float, float]]:
    return sorted(picks.table[["object", "x", "y"]].itertuples(index=False, name=None))


def test_in_a_run_without_annotations_only_what_was_said_counts(said: Path):
    one = corrected_runs({"TS_1": run("TS_1"), "other": run("other")}, said, OBJECTS)
    assert list(one) == ["TS_1"]
    assert one["TS_1"].reviewed
    assert found(one["TS_1"].picks) == [("ball", 300, 100), ("ball", 300, 300), ("ring", 100, 100)]
    assert found(one["TS_1"].refused) == [("ring", 500, 100)]


def test_in_an_annotated_run_it_adds_what_the_annotations_lack(said: Path):
    truth = Picks.join([Picks.of("TS_2", "ring", [[110, 100, 100]]), Picks.of("TS_2", "ball", [[300, 150, 100]])])
    one = corrected_runs({"TS_2": run("TS_2", truth)}, said, OBJECTS)["TS_2"]
    assert not one.reviewed
    assert found(one.picks) == [("ball", 300, 100), ("ball", 300, 150), ("ball", 300, 300), ("ring", 110, 100)]
    assert found(one.refused) == [("ring", 500, 100)]


def test_corrections_of_other_runs_are_refused(said: Path, tmp_path: Path):
    with pytest.raises(
        DataError, match=r"is about TS_1, TS_2, but training is on other; --train-runs must name TS_1, TS_2"
    ):
        corrected_runs({"other": run("other")}, said, OBJECTS)
    with pytest.raises(DataError, match="there is no file"):
        corrected_runs({"other": run("other")}, tmp_path / "none.csv", OBJECTS)


def test_corrections_outside_the_tomogram_are_refused(tmp_path: Path):
    one = Corrections(tmp_path / "said.csv")
    one.say(word("TS_1", "ring", (9000, 100, 100), "accepted", "ring"))
    with pytest.raises(DataError, match="outside run 'TS_1'"):
        corrected_runs({"TS_1": run("TS_1")}, one.path, OBJECTS)
