"""The layers that napari gets, and that what its manifest names is there."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from tomopick.io.mrc import write_mrc
from tomopick.io.picks import FORMATS, write_picks
from tomopick.napari_plugin import pick_layers, pick_widget, reader_of
from tomopick.picks import Picks

PICKS = Picks.join(
    [
        Picks.of("TS_1", "ribosome", [[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]], [0.9, 0.5]),
        Picks.of("TS_1", "ball", [[1.0, 2.0, 3.0]], [0.4]),
    ]
)


def opened(path: Path) -> list:
    reader = reader_of(str(path))
    assert reader is not None
    return reader(str(path))


def test_picks_are_points_in_angstrom_and_array_order(tmp_path: Path):
    write_picks(tmp_path / "a.csv", PICKS)
    layers = {attributes["name"]: (data, attributes) for data, attributes, _ in opened(tmp_path / "a.csv")}
    assert layers["ribosome"][0].tolist() == [[30.0, 20.0, 10.0], [60.0, 50.0, 40.0]]
    assert layers["ribosome"][1]["features"]["score"].tolist() == [0.9, 0.5]
    assert (layers["ribosome"][1]["size"], layers["ball"][1]["size"]) == (300, 100)


def test_a_tomogram_lies_under_its_picks(tmp_path: Path):
    napari = pytest.importorskip("napari")
    volume = np.zeros((8, 9, 10), dtype=np.float32)
    volume[3, 2, 1] = 1
    write_mrc(tmp_path / "TS_1.mrc", volume, 10.0)
    write_picks(tmp_path / "a.csv", Picks.of("TS_1", "ball", [[10.0, 20.0, 30.0]]))
    image, points = (napari.layers.Layer.create(*opened(tmp_path / name)[0]) for name in ("TS_1.mrc", "a.csv"))
    under = image.world_to_data(points.data_to_world(points.data[0]))
    assert image.data[tuple(np.asarray(under).astype(int))] == 1
    assert tuple(image.scale) == (10.0,) * 3
    assert image.units == points.units


def test_a_model_gives_layers_for_its_objects_and_picks_a_layer(model: Path, phantom: Path):
    import tomopick as tp

    named = [attributes["name"] for _, attributes, _ in opened(model)]
    assert named == [o.name for o in tp.load_model(model).spec.objects]
    tomogram = tp.open_project(phantom / "config.json").tomogram(tp.read_picks(phantom / "truth.csv").runs[0], "wbp")
    layers = pick_layers(np.asarray(tomogram[:, :, :]), tomogram.spacing, model, tomogram.name)
    picks = tp.pick(tp.load_model(model), tomogram)
    assert [attributes["name"] for _, attributes, _ in layers] == named
    for data, attributes, _ in layers:
        np.testing.assert_allclose(data[:, ::-1], picks.where(name=attributes["name"]).xyz())


def test_the_widget_picks_a_layer_in_a_thread_of_its_own(model: Path, mrc_files: Path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    napari = pytest.importorskip("napari")
    pytest.importorskip("PyQt6")
    from napari.qt import get_qapp
    from qtpy.QtTest import QSignalSpy

    get_qapp()
    image = napari.layers.Layer.create(*opened(mrc_files / "SIM_0.mrc")[0])
    worker = pick_widget()(image, model)
    found: list = []
    worker.returned.connect(found.append)
    assert QSignalSpy(worker.signals.returned).wait(120_000)
    expected = pick_layers(image.data, 10.0, model, image.name)
    for (data, attributes, _), (wanted, as_wanted, _) in zip(found[0], expected, strict=True):
        assert attributes["name"] == as_wanted["name"]
        np.testing.assert_array_equal(data, wanted)


def test_several_files_of_one_stack_are_left_to_others():
    assert reader_of(["a.mrc", "b.mrc"]) is None


def test_the_manifest_is_found_and_names_what_is_there():
    npe2 = pytest.importorskip("npe2")
    assert "tomopick:napari.yaml" in {point.value for point in entry_points(group="napari.manifest")}
    manifest = npe2.PluginManifest.from_distribution("tomopick")
    manifest.validate_imports()
    patterns = set(manifest.contributions.readers[0].filename_patterns)
    assert {f"*{form.extension}" for form in FORMATS if form.read is not None} <= patterns
