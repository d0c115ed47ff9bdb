"""`tomopick export`: the file, the report of parity, and what happens where it does not hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tomopick as tp
from tomopick.commands import export as export_command
from tomopick.commands.export import changed_picks, parity
from tomopick.models.exported import export
from tomopick.models.shipped import simulated_model
from tomopick.picks import Picks


def test_picks_are_compared_both_ways_by_object_place_and_score():
    mine = Picks.join([Picks.of("t", "a", [[0, 0, 0], [500, 0, 0]], [0.5, 0.9]), Picks.of("t", "b", [[0, 0, 0]], 0.5)])
    assert changed_picks(mine, mine, 10) == 0
    for column, change, count in (("x", 0.9, 0), ("x", 1.1, 2), ("score", 0.009, 0), ("score", 0.02, 2)):
        table = mine.table.copy()
        table.loc[0, column] += change
        assert changed_picks(mine, Picks(table), 10) == count
    assert changed_picks(mine, mine.where(name="a"), 10) == 1
    assert changed_picks(mine.where(name="a"), mine, 10) == 1
    assert changed_picks(Picks.empty(), Picks.empty(), 10) == 0


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_model_is_exported_and_compared_on_a_project(succeed, model, phantom, tmp_path, form):
    words = ("export", model, "--format", form, "--out", tmp_path / "m", "--project", phantom, "--runs", "SIM_2")
    said = succeed(*words)
    path = next(tmp_path.glob("m.onnx" if form == "onnx" else "m.xml"))
    told = json.loads((tmp_path / f"{path.name}.parity.json").read_text())
    assert told["difference"] < 1e-5
    assert told["tomograms"] == 1
    assert told["picks"] > 0
    # the command's own limit: the model has hardly learnt, its scores are flat, and which of two neighbours is higher
    # by 1e-8 is for rounding to say; where the higher one lies on a slope, the pick of the other is gone
    assert told["changed"] <= 0.01 * told["picks"]
    assert f"{told['changed']} of {told['picks']} picks changed" in said.out


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_no_pick_changes_of_a_model_that_has_learnt(phantom, tmp_path, form):
    project = tp.open_project(phantom / "config.json")
    model = tp.load_model(simulated_model("heatmap-unet"))
    found = parity(model, export(model, tmp_path / "m", form), iter([project.tomogram("SIM_2", "wbp")]))
    assert found.picks > 10
    assert (found.changed, found.difference < 1e-4) == (0, True)


@pytest.mark.parametrize(("form", "file"), [("onnx", "m.onnx"), ("openvino", "m.xml")])
def test_a_network_that_changes_too_many_picks_is_not_exported(model, phantom, tmp_path, monkeypatch, form, file):
    from tomopick.errors import TomopickError

    monkeypatch.setattr(export_command, "ENOUGH", 1)
    run = export_command.exported_network

    def off(path, network):
        exported = run(path, network)
        inner = exported.run
        object.__setattr__(exported, "run", lambda densities: np.roll(inner(densities), 1, axis=1))
        return exported

    monkeypatch.setattr(export_command, "exported_network", off)
    with pytest.raises(TomopickError, match="picks changed, more than 1%"):
        export_command.export_model(model, form, tmp_path / "m", phantom, "wbp", None, ["SIM_2"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{file}.parity.json"]
