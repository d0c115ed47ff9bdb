"""`tomopick evaluate` and `tomopick report`: the figures of Python, from files and from projects."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

import tomopick as tp


@pytest.fixture(scope="module")
def picks(phantom, tmp_path_factory):
    """A picks file whose score is known: SIM_0 has every particle, 3 A off; SIM_1 every second; SIM_2 nothing true."""
    truth = tp.read_picks(phantom / "truth.csv").table
    one = truth[truth["run"] == "SIM_0"].assign(x=lambda t: t["x"] + 3.0)
    two = truth[truth["run"] == "SIM_1"].iloc[::2]
    far = truth[truth["run"] == "SIM_2"].assign(z=lambda t: t["z"] + 5000.0)
    path = tmp_path_factory.mktemp("picks") / "picks.csv"
    tp.write_picks(path, tp.Picks(pd.concat([one, two, far])))
    return path


def test_the_figures_are_those_of_python(succeed, phantom, picks, tmp_path):
    outcome = succeed("evaluate", "--truth", phantom / "truth.csv", "--picks", picks, "--json", tmp_path / "s.json")
    expected = tp.evaluate(tp.read_picks(picks), tp.read_picks(phantom / "truth.csv"), beta=4)
    assert json.loads((tmp_path / "s.json").read_text()) == json.loads(json.dumps(expected.to_json()))
    assert 0 < expected.score < 1
    assert f"weighted F4: {expected.score:.4f}" in outcome.out
    for name, score in expected.by_object.items():
        row = [score.tp, score.fp, score.fn, *(f"{v:.3f}" for v in (score.precision, score.recall, score.f1))]
        assert re.search(rf"(?m)^ {name} +{' +'.join(map(str, row))} ", outcome.out)


def test_a_project_as_truth_gives_the_figures_of_the_csv(succeed, phantom, picks, tmp_path):
    said = {}
    for truth in (phantom / "truth.csv", phantom / "config.json", phantom):
        said[truth] = succeed("evaluate", "--truth", truth, "--picks", picks).out
    assert len(set(said.values())) == 1


def test_picks_in_a_project_are_those_of_tomopick(succeed, project, tmp_path):
    truth = tp.open_project(project / "config.json").picks()
    tp.open_project(project / "config.json").write_picks(truth.where(run="SIM_0"), "mine")
    words = ("evaluate", "--truth", project, "--picks", project, "--json", tmp_path / "s.json")
    outcome = succeed(*words)
    assert "no picks in SIM_1, SIM_2: all their particles count as missed; choose runs with --runs" in outcome.err
    chosen = succeed(*words, "--runs", "SIM_0,SIM_1").err
    assert "no picks in SIM_1: all their particles count as missed" in chosen
    assert "choose runs" not in chosen
    tp_counts = {
        name: score["tp"] for name, score in json.loads((tmp_path / "s.json").read_text())["by_object"].items()
    }
    assert tp_counts == {name: len(truth.where(run="SIM_0", name=name)) for name in tp_counts}
    succeed(*words, "--runs", "SIM_0", "--session", "mine")
    scores = json.loads((tmp_path / "s.json").read_text())["by_object"]
    assert {name for name, score in scores.items() if score["f_beta"] == 1} == set(truth.where(run="SIM_0").objects)


def test_chosen_runs_count_alone(succeed, phantom, picks, tmp_path):
    words = ("evaluate", "--truth", phantom, "--picks", picks, "--json", tmp_path / "s.json")
    succeed(*words, "--runs", "SIM_0")
    result = json.loads((tmp_path / "s.json").read_text())
    assert result["runs"] == ["SIM_0"]
    assert result["overall"]["fp"] == result["overall"]["fn"] == 0
    assert result["overall"]["localisation_error_angstrom"] == pytest.approx(3, abs=1e-3)


def test_beta_and_objects_of_ones_own(succeed, tmp_path):
    truth = tp.Picks.of("a", "mine", [[100, 100, 100], [300, 300, 300]])
    found = tp.Picks.of("a", "mine", [[100, 100, 139], [700, 700, 700], [500, 500, 500]])
    tp.write_picks(tmp_path / "truth.csv", truth)
    tp.write_picks(tmp_path / "found.csv", found)
    words = ("evaluate", "--truth", tmp_path / "truth.csv", "--picks", tmp_path / "found.csv", "--beta", 1)
    assert "weighted F1: 0.4000" in succeed(*words, "--object", "mine=80").out
    assert "weighted F1: 0.0000" in succeed(*words, "--object", "mine=77").out
    assert "weighted F1: 0.1000" in succeed(*words, "--object", "mine=80:1", "--object", "other=80:3").out


def truth_and_picks(folder, truth, picks):
    """The options for two files of these particles, each a run and an object."""
    files = []
    for name, particles in (("truth", truth), ("picks", picks)):
        places = [tp.Picks.of(run, what, [[100.0, 100.0, 100.0]]) for run, what in particles]
        tp.write_picks(folder / f"{name}.csv", tp.Picks.join(places))
        files += [f"--{name}", folder / f"{name}.csv"]
    return files


MINE = ("--object", "mine=80")


def test_picks_of_other_runs_than_the_truth_are_told_of(succeed, tmp_path):
    words = truth_and_picks(tmp_path, [("a", "mine")], [("a", "mine"), ("b", "mine")])
    outcome = succeed("evaluate", *words, *MINE)
    assert outcome.err.startswith("notice: picks in b do not count")
    assert "weighted F4: 1.0000" in outcome.out
    assert succeed("evaluate", *words, *MINE, "--runs", "a").err == ""
    outcome = succeed("evaluate", *words, *MINE, "--runs", "a,b")
    assert outcome.err == "notice: the truth has no particles in b: all picks there count as false\n"
    assert "weighted F4: 0.9444" in outcome.out  # 17 TP / (17 TP + FP)


def test_picks_only_of_other_runs_than_the_truth_are_told_of(succeed, tmp_path):
    many = [(f"TS_{i:02d}", "mine") for i in range(20)]
    outcome = succeed("evaluate", *truth_and_picks(tmp_path, [("a", "mine")], many), *MINE)
    assert outcome.err.count("notice: ") == 1
    for said in ("no pick counts", "TS_00, ", "and 14 more", "the truth of a"):
        assert said in outcome.err
    assert "weighted F4: 0.0000" in outcome.out


def test_objects_that_the_truth_lacks_are_told_of(succeed, tmp_path):
    words = truth_and_picks(tmp_path, [("a", "mine"), ("b", "other")], [("a", "mine"), ("b", "other")])
    both = (*MINE, "--object", "other=80:3")
    assert succeed("evaluate", *words, *both).err == ""
    outcome = succeed("evaluate", *words, *both, "--runs", "a")
    assert outcome.err.startswith("notice: the truth has no other: ")
    assert "weighted F4: 0.2500" in outcome.out
    weightless = (*MINE, "--object", "other=80:0")
    outcome = succeed("evaluate", *words, *weightless, "--runs", "a")
    assert (outcome.err, "weighted F4: 1.0000" in outcome.out) == ("", True)


def test_objects_that_are_not_named_are_left_out_and_told_of(succeed, phantom, picks, tmp_path):
    words = ("--truth", phantom / "truth.csv", "--picks", picks, "--object", "ribosome=150:1")
    outcome = succeed("evaluate", *words, "--json", tmp_path / "s.json")
    everything = tp.evaluate(tp.read_picks(picks), tp.read_picks(phantom / "truth.csv"), beta=4)
    said = json.loads((tmp_path / "s.json").read_text())
    assert said["score"] == pytest.approx(everything.by_object["ribosome"].f_beta)
    assert list(said["by_object"]) == ["ribosome"]
    assert "left out" in outcome.err
    assert "apo-ferritin" in outcome.err
    succeed("report", *words, "--out", tmp_path / "r.html")


def test_a_truth_outside_the_volume_is_refused(refuse, project, phantom, picks, tmp_path):
    truth = tp.read_picks(phantom / "truth.csv").table
    tp.write_picks(tmp_path / "nm.csv", tp.Picks(truth.assign(x=truth["x"] * 10)))
    says = ("outside run 'SIM_0'", "units")
    refuse("evaluate", "--truth", tmp_path / "nm.csv", "--picks", project, says=("no picks by user 'tomopick'",))
    tp.open_project(project / "config.json").write_picks(tp.read_picks(picks).where(run="SIM_0"), "mine")
    refuse("evaluate", "--truth", tmp_path / "nm.csv", "--picks", project, says=says)


def test_picks_outside_the_volume_are_false_and_told_of(succeed, phantom, picks, tmp_path):
    words = ("evaluate", "--truth", phantom, "--picks", picks, "--runs", "SIM_2", "--json", tmp_path / "s.json")
    assert "outside run 'SIM_2'" in succeed(*words).err
    overall = json.loads((tmp_path / "s.json").read_text())["overall"]
    assert overall["tp"] == 0
    assert overall["fp"] == overall["fn"] > 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("experiment,particle_type,x,y\nSIM_0,ribosome,1,2\n", ("no column z",)),
        ("particle_type,x,y,z\nribosome,1,2,3\n", ("no column experiment or run",)),
        ("experiment,particle_type,x,y,z\nSIM_0,ribosome,left,2,3\n", ("row 1", "'left'")),
        ("experiment,particle_type,x,y,z\nSIM_0,ribosome,nan,2,3\n", ("row 1", "finite")),
        ("experiment,particle_type,x,y,z\nSIM_0,ribosme,1,2,3\n", ("'ribosme'", "ribosome")),
        ("", ("is empty",)),
    ],
)
def test_picks_that_cannot_be_used_are_refused(text, says, refuse, phantom, tmp_path):
    (tmp_path / "bad.csv").write_text(text)
    words = ("--picks", tmp_path / "bad.csv", "--json", tmp_path / "scores.json")
    refuse("evaluate", "--truth", phantom / "truth.csv", *words, says=says)
    assert not (tmp_path / "scores.json").exists()


def test_files_that_are_not_there_are_refused(refuse, phantom, picks, tmp_path):
    refuse("evaluate", "--truth", tmp_path / "no.csv", "--picks", picks, says=("no.csv",))
    refuse("evaluate", "--truth", phantom, "--picks", tmp_path / "no.csv", says=("no.csv",))
    refuse("evaluate", "--truth", tmp_path / "no.json", "--picks", picks, says=("no.json",))
    refuse("report", "--picks", tmp_path / "no.csv", "--out", tmp_path / "r.html", says=("no.csv",))
    refuse("report", "--picks", picks, "--training", tmp_path, "--out", tmp_path / "r.html", says=("history.csv",))
    assert list(tmp_path.iterdir()) == []


def test_unknown_runs_and_objects_are_refused(refuse, phantom, picks, tmp_path):
    words = ("--truth", phantom / "truth.csv", "--picks", picks)
    refuse("evaluate", *words, "--runs", "SIM_0,SIM_9", says=("SIM_9", "SIM_0, SIM_1, SIM_2"))
    refuse("evaluate", *words, "--object", "ribosome", says=("ribosome", "NAME=RADIUS"))
    refuse("evaluate", *words, "--object", "nosuch=150", says=("unknown object nosuch", "ribosome"))
    refuse("report", *words, "--runs", "SIM_9", "--out", tmp_path / "r.html", says=("SIM_9",))


def test_a_place_that_cannot_be_written_to_is_refused(refuse, phantom, picks, tmp_path):
    (tmp_path / "file").write_text("")
    words = ("--truth", phantom / "truth.csv", "--picks", picks)
    refuse("evaluate", *words, "--json", tmp_path / "file" / "s.json", says=("cannot write",))
    refuse("report", *words, "--out", tmp_path / "file" / "r.html", says=("cannot write",))
    refuse("report", *words, "--out", tmp_path, says=("cannot write",))


def test_the_report_is_one_page_with_everything_in_it(succeed, phantom, picks, training, tmp_path):
    page = tmp_path / "report.html"
    words = ("--picks", picks, "--model", training / "model.safetensors", "--training", training, "--out", page)
    outcome = succeed("report", phantom, *words, "--runs", "SIM_0,SIM_1")
    assert str(page) in outcome.out
    text = page.read_text()
    chosen = ["SIM_0", "SIM_1"]
    truth = tp.read_picks(phantom / "truth.csv")
    expected = tp.evaluate(tp.read_picks(picks), truth, tp.open_project(phantom / "config.json").objects, runs=chosen)
    assert f"{expected.score:.3f}" in text
    for word in (*expected.by_object, *chosen, "cryoet3dcnn", "data:image/png;base64,"):
        assert word in text
    assert text.count("<script") == 1
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*""", text) == []


def test_a_report_of_picks_alone(succeed, picks, tmp_path):
    succeed("report", "--picks", picks, "--out", tmp_path / "report.html")
    assert "ribosome" in (tmp_path / "report.html").read_text()


def test_a_report_says_which_runs_it_leaves_out(succeed, phantom, picks, tmp_path):
    alone = tmp_path / "alone.csv"
    tp.write_picks(alone, tp.read_picks(picks).where(run="SIM_1"))
    outcome = succeed("report", "--picks", alone, "--truth", phantom / "truth.csv", "--out", tmp_path / "r.html")
    assert "no picks in SIM_0, SIM_2" in outcome.err
