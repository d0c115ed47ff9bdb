"""How long the panel of `tomopick view` takes to answer its slider, with many picks, in headless Chromium.

Simulated picks lie at random in an empty tomogram. The slider of one object is moved step by step; each time is from
the event to the changed numbers, and to the frame after. Prints median and longest, and writes them to DIR/results.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
from machine import Machine
from measure import answer, make_folder, write_results

from tomopick.errors import DataError
from tomopick.io.mrc import write_mrc
from tomopick.io.picks import write_picks
from tomopick.objects import CZII_OBJECTS
from tomopick.picks import Picks

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
MOVE = """async (value) => {
  const slider = document.getElementById("slider-0");
  const started = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input"));
  const counted = performance.now() - started;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [counted, performance.now() - started];
}"""


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for all results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--picks", type=int, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--moves", type=int, default=40, help="of the slider (%(default)s)")
    return parser.parse_args()


def lab(folder: Path, count: int) -> list[str]:
    """A tomogram and picks in it, half of them in the truth; the words of the command that shows them."""
    rng = np.random.default_rng(0)
    shape = (96, 400, 400)
    write_mrc(folder / "ts.mrc", rng.normal(size=shape).astype(np.float32), 10.0)
    parts = []
    for one in CZII_OBJECTS:
        xyz = rng.uniform(0, np.array(shape[::-1]) * 10.0 - 10, (count // len(CZII_OBJECTS), 3))
        parts.append(Picks.of("ts", one.name, xyz, rng.random(len(xyz))))
    write_picks(folder / "picks.csv", Picks.join(parts))
    write_picks(folder / "truth.csv", Picks(Picks.join(parts).table[::2]))
    given = ("--picks", folder / "picks.csv", "--truth", folder / "truth.csv")
    return ["view", str(folder / "ts.mrc"), *map(str, given)]


def milliseconds(url: str, moves: int) -> list[tuple[float, float]]:
    """Of each move of the slider: until the numbers have changed, and until the frame after that."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.goto(url)
        page.wait_for_selector(".tile", timeout=120_000)
        times = [tuple(page.evaluate(MOVE, str(value))) for value in np.linspace(0.05, 0.95, moves)]
        chromium.close()
    return times


def main() -> None:
    """Show, move, print."""
    args = parsed()
    if shutil.which("chromium") is None:
        raise DataError("there is no chromium: apt-get install chromium")
    make_folder(args.out)
    words = [sys.executable, "-m", "tomopick", *lab(args.out, args.picks)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        found = re.search(r"http://\S+", line)
        if found is None:
            raise DataError(f"the page did not come up: {line}")
        times = milliseconds(found.group(), args.moves)
        process.kill()
    counted, drawn = zip(*times, strict=True)
    lines = [
        f"# The slider with {args.picks} picks",
        "",
        *Machine().lines(),
        "",
        f"{len(times)} moves: numbers changed after {median(counted):.1f} ms (median; longest {max(counted):.1f}), "
        f"drawn after {median(drawn):.0f} ms (longest {max(drawn):.0f}).",
    ]
    write_results(args.out, lines, {"counted": counted, "drawn": drawn}, args.json)


if __name__ == "__main__":
    answer(main)
