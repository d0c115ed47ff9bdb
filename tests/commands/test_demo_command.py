"""The demo, shortened: everything it promises is there, and nothing else is removed."""

from pathlib import Path

import pytest

import tomopick as tp
from tomopick.commands.demo import run_demo
from tomopick.errors import DataError


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(DataError, match="not an earlier demo"):
        run_demo(tmp_path, 0.1, 0)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


@pytest.mark.slow
def test_a_short_demo_leaves_a_report_with_picks_of_the_held_out_run(tmp_path: Path, capsys):
    page = run_demo(tmp_path / "demo", 0.5, 0)
    assert page == tmp_path / "demo" / "report.html"
    assert "SIM_8" in page.read_text()
    said = capsys.readouterr().out
    assert "blob detector: weighted F4" in said
    project = tp.open_project(tmp_path / "demo" / "project" / "config.json")
    stored = project.picks(user="tomopick", session="demo")
    assert set(stored.runs) <= {"SIM_8"}
    assert len(stored) == len(tp.read_picks(tmp_path / "demo" / "picks.csv"))
