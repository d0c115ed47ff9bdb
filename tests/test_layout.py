import hashlib
import json
import re
from base64 import b64decode
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from browser import launched, needs_browser

from tomopick.layout import SCRIPT, SCRIPT_HASH, neighbour_distances, turning_scatter
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.report import write_report
from tomopick.tomogram import Tomogram

OBJECTS = (
    ParticleObject(name="ring", radius=60, label=1, color=(255, 0, 0, 255)),
    ParticleObject(name="a<b", radius=80, label=2, color=(0, 0, 255, 255)),
)
PICKS = Picks.join(
    [
        Picks.of("TS_1", "ring", [[0, 0, 0], [30, 40, 0], [30, 40, 120]], [0.9, 0.8, 0.7]),
        Picks.of("TS_1", "a<b", [[100.4, 200.6, 300]], [0.5]),
        Picks.of("TS_2", "ring", [[0, 0, 10]], [0.5]),
    ]
)
TOMOGRAM = Tomogram(np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32), 10.0, "TS_1")


def test_neighbours_are_of_the_same_object_in_the_same_run():
    assert neighbour_distances(PICKS, "ring").tolist() == pytest.approx([50, 50, 120])
    assert neighbour_distances(PICKS, "a<b").tolist() == []


def test_the_turning_scatter_carries_the_tomograms_picks_and_no_markup_of_names():
    html = turning_scatter(TOMOGRAM, PICKS, OBJECTS)
    data = json.loads(unescape(re.search(r'data-points="([^"]*)"', html).group(1)))
    assert data["size"] == [600, 500, 400]
    assert data["points"] == [
        {"color": "#ff0000", "radius": 60, "xyz": [[0, 0, 0], [30, 40, 0], [30, 40, 120]]},
        {"color": "#0000ff", "radius": 80, "xyz": [[100, 201, 300]]},
    ]
    assert "a&lt;b (1)" in html
    assert "a<b" not in html


def test_the_page_allows_this_script_and_no_other(tmp_path: Path):
    page = write_report(tmp_path / "r.html", title="x", objects=OBJECTS, picks=PICKS, tomograms=[TOMOGRAM]).read_text()
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.S) == [SCRIPT]
    assert f"script-src '{SCRIPT_HASH}'" in page
    assert b64decode(SCRIPT_HASH.removeprefix("sha256-")) == hashlib.sha256(SCRIPT.encode()).digest()


@needs_browser
def test_the_scatter_is_drawn_and_turns(tmp_path: Path):
    path = write_report(tmp_path / "r.html", title="x", objects=OBJECTS, picks=PICKS, tomograms=[TOMOGRAM])
    red = """(c) => {
      const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      let sum = 0, count = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] > 200 && data[i + 1] < 80 && data[i + 2] < 80) { sum += (i / 4) % c.width; count += 1; }
      }
      return [count, sum / count];
    }"""
    with launched() as browser:
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        canvas = page.locator("canvas.turning")
        count, middle = canvas.evaluate(red)
        assert count > 100
        canvas.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        assert abs(canvas.evaluate(red)[1] - middle) > 20
        assert said == []
