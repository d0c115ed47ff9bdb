"""The page in a real browser (Debian's chromium), served by the real command."""

import io
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from browser import launched, needs_browser
from matplotlib.image import imread
from playwright.sync_api import expect

from tomopick.io.mrc import write_mrc
from tomopick.io.picks import read_picks, write_picks
from tomopick.io.score_maps import writing_scores
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

expect.set_options(timeout=30_000)
SCORES = np.linspace(0.05, 0.95, 19)
OBJECTS = ["--object", "blob=60", "--object", "ring=90"]


@dataclass
class Served:
    """A running `tomopick view`."""

    process: subprocess.Popen[str]
    url: str

    def post(self, **what: object) -> dict[str, object]:
        request = urllib.request.Request(f"{self.url}api/act", json.dumps(what).encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def status(self, url: str, **headers: str) -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def serve(folder: Path) -> Served:
    words = ["view", str(folder / "ts.mrc"), "--picks", str(folder / "picks.csv"), "--truth", str(folder / "truth.csv")]
    words += ["--scores", str(folder / "maps")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tomopick", *words, *OBJECTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/\S+/", line)
    assert found, line + process.stderr.read()
    return Served(process, found.group())


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A tomogram with a dark blob at each of 19 places, picked with rising scores; every second one is in the truth."""
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(48, 96, 96)).astype(np.float32)
    places = np.array([[24, 10 + 18 * (i // 5), 8 + 16 * (i % 5)] for i in range(19)])
    z, y, x = np.indices(volume.shape)
    for place in places:
        volume[(z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2 < 25] -= 6
    write_mrc(folder / "ts.mrc", volume, 10.0)
    (blob,) = (ParticleObject(name="blob", radius=60, label=1),)
    with writing_scores(folder / "maps/ts.zarr", (24, 48, 48), [blob], 20.0, "ts") as write:
        left = np.zeros((1, 24, 48, 48), np.float32)
        left[..., :24] = 1.0
        write(left, (0, 0, 0))
    xyz = places[:, ::-1] * 10.0
    picks = Picks.join([Picks.of("ts", "blob", xyz, SCORES), Picks.of("ts", "ring", [[500, 500, 240]], [0.5])])
    write_picks(folder / "picks.csv", picks)
    write_picks(folder / "truth.csv", Picks.of("ts", "blob", xyz[::2]))
    return folder


@pytest.fixture(scope="module")
def served(lab: Path) -> Iterator[Served]:
    """For tests that change nothing."""
    one = serve(lab)
    yield one
    one.kill()


@pytest.fixture
def desk(lab: Path) -> Iterator[Served]:
    """For tests that say something of picks."""
    one = serve(lab)
    yield one
    one.kill()
    (lab / "picks.corrections.csv").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launched() as chromium:
        yield chromium


def opened(browser, served: Served):
    page = browser.new_page(viewport={"width": 1300, "height": 800})
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(served.url)
    page.wait_for_selector(".tile")
    return page


def wait_until(seen: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.5)


def drawn(page) -> bool:
    """Whether the viewer shows the tomogram yet."""
    return bool(shades(page.locator("#viewer").screenshot())[60:380, 10:360].std() >= 0.1)


def click_in_the_slices(page, position: dict[str, float]) -> None:
    """Add a pick; the viewer hears no click before it knows what is under the mouse, which a busy machine delays."""
    said = page.inner_text("#said")

    def heard() -> bool:
        page.locator("#viewer").click(position=position, modifiers=["Control"])
        with suppress(AssertionError):
            expect(page.locator("#said")).not_to_have_text(said, timeout=10_000)
        return bool(page.inner_text("#said") != said)

    wait_until(heard)


def colours(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def shades(png: bytes) -> np.ndarray:
    return colours(png).mean(axis=-1)


def test_only_who_has_the_token_gets_in(served: Served):
    root, token = served.url.rstrip("/").rsplit("/", 1)
    assert served.status(served.url) == 200
    for wrong in ("guess", token[:-1], token + "x"):
        assert served.status(f"{root}/{wrong}/") == 403
        assert served.status(f"{root}/{wrong}/api/picks") == 403
    assert served.status(served.url, Host="evil.example") == 400


@pytest.mark.parametrize(
    "path",
    ["server.py", "../server.py", "%2e%2e/server.py", "..%2f..%2fcli.py", "/etc/passwd", "%2Fetc%2Fpasswd", "api"],
)
def test_nothing_but_the_page_is_served(path: str, served: Served):
    assert served.status(served.url + path) in (403, 404)
    assert served.status(f"{served.url}api/tile/999.png") == 404


def test_odd_requests_are_answered_and_change_nothing(served: Served, lab: Path):
    for what in (
        {},
        {"do": "fly"},
        {"do": "say", "index": 0, "verdict": "x"},
        {"do": "say", "index": "a", "verdict": "accepted"},
    ):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            served.post(**what)
    assert not (lab / "picks.corrections.csv").exists()


@needs_browser
def test_the_page_shows_the_tomogram_and_asks_nobody_else(browser, served: Served):
    page = opened(browser, served)
    wait_until(lambda: drawn(page))
    tile = page.locator(".tile img").first
    wait_until(lambda: shades(tile.screenshot()).std() > 0.1)
    assert {url.split("/")[2].split(":")[0] for url in page.asked if not url.startswith("data:")} == {
        "127.0.0.1",
        "localhost",
    }
    page.close()


@needs_browser
def test_scores_lie_where_the_tomogram_has_them(browser, served: Served):
    """They are 1 in the left half of the volume and 0 in the right one."""
    page = opened(browser, served)
    frame = page.locator("#viewer")

    def orange() -> np.ndarray:
        red, _, blue = np.moveaxis(colours(frame.screenshot())[60:380, 10:360], -1, 0)
        return np.flatnonzero((red > blue + 0.25).mean(axis=0) > 0.5)

    wait_until(lambda: len(orange()) > 60)
    columns = orange()
    assert len(columns) > 60
    width = page.locator("#viewer").bounding_box()["width"] / 2
    assert columns.max() + 10 == pytest.approx(width / 2, abs=8)
    served.post(do="choose", object="ring")
    wait_until(lambda: not len(orange()), seconds=30)
    served.post(do="choose", object="blob")
    page.close()


@needs_browser
def test_the_slider_counts_and_tells_precision(browser, desk: Served):
    page = opened(browser, desk)
    assert page.inner_text("#count-0") == "19"
    assert page.inner_text("#p-0") == f"{10 / 19:.2f}"
    page.fill("#slider-0", "0.9")
    assert page.inner_text("#count-0") == "2"
    assert (page.inner_text("#p-0"), page.inner_text("#r-0")) == ("0.50", "0.10")
    expect(page.locator(".tile")).to_have_count(2)
    page.reload()
    page.wait_for_selector(".tile")
    assert page.input_value("#slider-0") == "0.9"
    page.close()


@needs_browser
def test_what_was_said_survives_a_killed_server_and_reaches_other_tabs(browser, desk: Served, lab: Path):
    before = (lab / "picks.csv").read_bytes()
    page, tab = opened(browser, desk), opened(browser, desk)
    page.locator(".tile").nth(0).click()
    page.keyboard.press("a")
    expect(page.locator("#said")).to_have_text("1 reviewed")
    page.keyboard.press("r")
    expect(page.locator("#said")).to_have_text("2 reviewed")
    page.keyboard.press("2")
    expect(page.locator("#said")).to_have_text("3 reviewed")
    assert page.inner_text("#count-1") == "2"
    expect(tab.locator("#said")).to_have_text("3 reviewed")
    wait_until(lambda: drawn(page))
    click_in_the_slices(page, {"x": 250, "y": 200})
    expect(page.locator("#said")).to_have_text("4 reviewed")
    desk.kill()
    again = serve(lab)
    fresh = opened(browser, again)
    assert fresh.inner_text("#said") == "4 reviewed"
    fresh.select_option("#filter", "accepted")
    assert [word.split(" ")[0] for word in fresh.locator(".tile").all_inner_texts()] == ["added", "0.95,"]
    fresh.select_option("#filter", "rejected")
    assert fresh.locator(".tile").all_inner_texts() == ["0.90, rejected"]
    fresh.click("#undo")
    expect(fresh.locator("#said")).to_have_text("3 reviewed")
    again.kill()
    for one in (page, tab, fresh):
        one.close()
    assert (lab / "picks.csv").read_bytes() == before
    said = read_picks(lab / "picks.csv").table["object"].value_counts().to_dict()
    assert said == {"blob": 19, "ring": 1}


@needs_browser
def test_keys_typed_ahead_judge_one_picture_after_the_other(browser, desk: Served):
    """The first answer is held back until a second key was pressed and another tab's news came."""
    page = opened(browser, desk)
    page.select_option("#filter", "all")
    page.locator(".tile").nth(2).click()
    page.wait_for_timeout(1000)
    held = []
    page.route("**/api/act", lambda route: route.continue_() if held else held.append(route))
    page.keyboard.press("a")
    page.keyboard.press("r")
    desk.post(do="say", index=0, verdict="rejected")
    page.wait_for_timeout(3000)
    held[0].continue_()
    expect(page.locator("#said")).to_have_text("3 reviewed")
    words = ["0.95", "0.90", "0.85, accepted", "0.80, rejected", *[re.compile("0")] * 14, "0.05, rejected"]
    expect(page.locator(".tile")).to_have_text(words)
    expect(page.locator(".tile[aria-current=true]")).to_have_text("0.75")
    page.close()


@needs_browser
def test_a_place_is_kept_when_another_tab_says_something(browser, desk: Served):
    page = opened(browser, desk)
    page.locator(".tile").nth(5).click()
    desk.post(do="say", index=0, verdict="rejected")
    expect(page.locator("#said")).to_have_text("1 reviewed")
    expect(page.locator(".tile[aria-current=true]")).to_have_text("0.70")
    page.keyboard.press("a")
    expect(page.locator(".tile").nth(5)).to_have_text("0.70, accepted")
    page.close()


@needs_browser
def test_a_click_in_the_slices_adds_a_pick_where_the_mouse_is(browser, desk: Served):
    page = opened(browser, desk)
    wait_until(lambda: drawn(page))
    desk.post(do="fly", index=0)
    frames = [b""]

    def still() -> bool:
        frames.append(page.locator("#viewer").screenshot())
        return frames[-1] == frames[-2]

    time.sleep(3)  # for the viewer to set off
    wait_until(still)
    box = page.locator("#viewer").bounding_box()
    click_in_the_slices(page, {"x": box["width"] / 4, "y": (box["height"] + 25) / 4 + 12})
    expect(page.locator("#said")).to_have_text("1 reviewed")
    with urllib.request.urlopen(f"{desk.url}api/picks") as answer:
        *_, added = json.load(answer)["picks"]
    assert added[7] == "added"
    np.testing.assert_allclose(added[4:7], [80, 100, 240], atol=40)
    page.close()


@needs_browser
def test_the_panel_is_accessible(browser, served: Served):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, served)
    found = Axe().run(page, context="#panel")
    assert found.violations_count == 0, found.generate_report()
    page.close()
