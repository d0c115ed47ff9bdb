from pathlib import Path

import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.io.corrections import Correction, Corrections

PICK = Correction("TS_1", "ribosome", 10.5, 20.25, 30, 0.75, "accepted", "ribosome")
OTHER = Correction("TS_1", "blob", 1, 2, 3, 0.5, "rejected", "blob")
ADDED = Correction("TS_2", "blob", 100, 200, 300, float("nan"), "added", "")


def relabelled(one: Correction, name: str, verdict: str = "accepted") -> Correction:
    return Correction(one.run, name, one.x, one.y, one.z, one.score, verdict, one.was)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corrections.csv"


def test_what_was_said_is_on_the_disk_at_once(path: Path):
    said = Corrections(path)
    for one in (PICK, OTHER, ADDED):
        said.say(one)
        assert len(Corrections(path)) == len(said)
    again = list(Corrections(path))
    assert again[:2] == [PICK, OTHER]
    assert (again[2].key, again[2].verdict, np.isnan(again[2].score)) == (ADDED.key, "added", True)


def test_the_last_word_about_a_place_counts(path: Path):
    said = Corrections(path)
    for one in (PICK, OTHER, relabelled(PICK, "blob")):
        said.say(one)
    assert [(c.object, c.was, c.verdict) for c in Corrections(path)] == [
        ("blob", "ribosome", "accepted"), ("blob", "blob", "rejected"),
    ]  # fmt: skip
    said.say(relabelled(PICK, "ribosome", "open"))
    assert [c.verdict for c in Corrections(path)] == ["rejected"]


def test_undo_goes_back_to_the_word_before(path: Path):
    said = Corrections(path)
    for one in (PICK, relabelled(PICK, "blob"), OTHER):
        said.say(one)
    again = Corrections(path)
    assert again.undo() == OTHER
    assert again.undo() == relabelled(PICK, "blob")
    assert list(Corrections(path)) == [PICK]
    assert again.undo() == PICK
    assert again.undo() is None
    assert list(Corrections(path)) == []


def test_picks_of_a_kind(path: Path):
    said = Corrections(path)
    for one in (PICK, OTHER, ADDED):
        said.say(one)
    kept = said.picks("accepted", "added")
    assert kept.table[["run", "object", "x", "y", "z"]].to_numpy().tolist() == [
        ["TS_1", "ribosome", 10.5, 20.25, 30.0], ["TS_2", "blob", 100.0, 200.0, 300.0],
    ]  # fmt: skip
    assert len(said.picks("rejected")) == 1


def test_a_full_disk_keeps_what_was_said_before(path: Path, fill_disk):
    said = Corrections(path)
    said.say(PICK)
    fill_disk(path)
    with pytest.raises(DataError, match="old file is kept"):
        said.say(OTHER)
    assert list(said) == [PICK]
    assert list(Corrections(path)) == [PICK]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,x\nTS_1,3\n", "no column object, y, z, score, verdict, was"),
        ("run,object,x,y,z,score,verdict,was\nTS_1,a,1,2,3,0.5,maybe,a\n", "the verdict 'maybe'"),
        ("", "cannot read the corrections"),
    ],
)
def test_another_file_is_refused(text: str, message: str, path: Path):
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        Corrections(path)
