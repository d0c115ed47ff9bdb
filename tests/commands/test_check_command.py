"""`tomopick check`: a table, JSON and an exit code."""

from __future__ import annotations

import json

import tomopick as tp


def test_a_project_is_looked_through(command, project, tmp_path):
    outcome = command("check", project, "--json", tmp_path / "found.json")
    assert outcome.code == 0, outcome
    assert "3 tomograms" in outcome.out
    levels = {one["level"] for one in json.loads((tmp_path / "found.json").read_text())}
    assert levels <= {"warning"}


def test_an_error_is_said_in_table_json_and_exit_code(command, project, tmp_path):
    opened = tp.open_project(project / "config.json")
    copy = opened.tomogram("SIM_0", "wbp")
    opened.add_tomogram("SIM_9", "wbp", copy.spacing, copy[:, :, :])
    outcome = command("check", project, "--json", tmp_path / "found.json")
    assert outcome.code == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(one["run"], one["check"]) for one in found if one["level"] == "error"] == [("SIM_9", "same tomogram")]
    assert "the same tomogram as SIM_0" in outcome.out
    assert command("check", project, "--runs", "SIM_0,SIM_1").code == 0


def test_whose_annotations_are_looked_at_can_be_chosen(command, refuse, project):
    opened = tp.open_project(project / "config.json")
    truth = opened.picks().table
    opened.add_picks(tp.Picks(truth.assign(x=truth["x"] * 10)), "someone", "1")
    refuse("check", project, says=("several sets", "--user someone"))
    assert command("check", project, "--user", "simulation").code == 0
    outcome = command("check", project, "--user", "someone", "--session", "1")
    assert (outcome.code, "outside run 'SIM_0'" in outcome.out) == (1, True)


def test_what_is_no_project_is_refused(refuse, project, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    refuse("check", tmp_path / "x.json", says=("x.json",))
    refuse("check", project, "--tomogram", "nosuch", says=("nosuch", "wbp"))
