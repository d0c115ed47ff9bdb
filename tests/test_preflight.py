"""Each fault that a project may have is found, and a sound project has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.preflight import Finding, check_densities, check_picks, check_together, densities_of
from tomopick.tomogram import Tomogram

OBJECTS = (ParticleObject(name="big", radius=80), ParticleObject(name="small", radius=40))
SHAPE, SPACING = (40, 90, 100), 10.0


def places(seed: int) -> np.ndarray:
    """24 places (zyx voxels) well apart, twelve for each object, all in the lower half."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid([8], np.arange(12, 90, 18), np.arange(12, 100, 18), indexing="ij"), -1)
    return corners.reshape(-1, 3)[:24] + rng.uniform(-1, 1, (24, 3))


def sound(name: str, seed: int) -> tuple[Tomogram, Picks]:
    """Dark balls in noise, and picks on them."""
    rng, centres = np.random.default_rng(seed), places(seed)
    volume = rng.normal(size=SHAPE).astype(np.float32)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    for centre in centres:
        volume[np.linalg.norm(grid - centre, axis=-1) < 4] -= 2
    xyz = centres[:, ::-1] * SPACING
    picks = Picks.join([Picks.of(name, "big", xyz[:12]), Picks.of(name, "small", xyz[12:])])
    return Tomogram(volume, SPACING, name), picks


PAIR = [sound("one", 0), sound("two", 1)]


def findings(pair: list[tuple[Tomogram, Picks]]) -> list[Finding]:
    told = [densities_of(tomogram) for tomogram, _ in pair]
    picks = Picks.join(p for _, p in pair)
    found = [f for (t, _), d in zip(pair, told, strict=True) for f in check_densities(t, d)]
    found += [f for (t, _), d in zip(pair, told, strict=True) for f in check_picks(t, d, picks, OBJECTS)]
    return found + list(check_together([t for t, _ in pair], told, picks, OBJECTS))


def with_volume(change) -> list[tuple[Tomogram, Picks]]:
    tomogram, picks = PAIR[0]
    volume = np.array(tomogram.array)
    return [(replace(tomogram, array=change(volume)), picks), PAIR[1]]


def with_picks(change) -> list[tuple[Tomogram, Picks]]:
    tomogram, picks = PAIR[0]
    return [(tomogram, Picks(change(picks.table.copy()))), PAIR[1]]


def filled(volume: np.ndarray, region: tuple[slice, ...], value: float) -> np.ndarray:
    volume[region] = value
    return volume


def moved(table, axis: str, by: float):
    return table.assign(**{axis: table[axis] + by})


def renamed(picks: Picks, name: str) -> Picks:
    return Picks(picks.table.assign(run=name))


FAULTS = {
    "NaN": (lambda: with_volume(lambda v: filled(v, np.s_[3, 4, 5:8], np.nan)), "error", "densities", "3 voxels"),
    "one value": (lambda: with_volume(lambda v: v * 0), "error", "densities", "all voxels"),
    "padding": (lambda: with_volume(lambda v: filled(v, np.s_[:2], 0)), "warning", "densities", "from 0 to 1"),
    "inverted": (lambda: with_volume(lambda v: -v), "warning", "contrast", "brighter"),
    "mirrored": (lambda: with_volume(lambda v: v[::-1]), "warning", "handedness", "mirrored along z"),
    "no picks": (lambda: with_picks(lambda t: t[:0]), "warning", "picks", "no picks"),
    "outside": (lambda: with_picks(lambda t: moved(t, "x", 5000)), "error", "picks", "24 picks lie outside run 'one'"),
    "twice": (
        lambda: with_picks(lambda t: pd.concat([t, moved(t[:3], "z", 9.0)])), "warning", "duplicates", "3 pairs of big",
    ),
    "two objects": (
        lambda: with_picks(lambda t: pd.concat([t, moved(t[:2].assign(object="small"), "y", 19.0)])),
        "warning", "two objects", "2 places are both big and small, within 20 A",
    ),
    "spacing": (
        lambda: [*PAIR, (replace(PAIR[0][0], array=np.array(PAIR[0][0].array) + 1, spacing=10.012, name="three"),
                         renamed(PAIR[0][1], "three"))],
        "warning", "voxel spacing", "10.012 A where most are 10 A",
    ),
    "same tomogram": (
        lambda: [*PAIR, (replace(PAIR[0][0], name="three"), renamed(PAIR[0][1], "three"))],
        "error", "same tomogram", "the same tomogram as one",
    ),
    "few": (lambda: [(t, Picks(p.table[::3])) for t, p in PAIR], "warning", "counts", "only 8 picks of big"),
    "one run": (
        lambda: with_picks(lambda t: t[t["object"] == "small"]), "warning", "counts", "big is in two alone",
    ),
    "no such": (lambda: [(t, p.where(name="big")) for t, p in PAIR], "warning", "counts", "no picks of small"),
    "unknown": (lambda: with_picks(lambda t: t.assign(object="big ")), "error", "objects", "does not know big "),
}  # fmt: skip


def test_nothing_is_wrong_with_a_sound_project():
    assert findings(PAIR) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_said(fault: str) -> None:
    make, level, check, text = FAULTS[fault]
    matching = [f for f in findings(make()) if (f.level, f.check) == (level, check)]
    assert any(text in f.text for f in matching), findings(make())


def test_densities_are_those_of_the_whole():
    tomogram, _ = PAIR[0]
    told = densities_of(tomogram)
    assert told.mean == pytest.approx(np.mean(tomogram.array), abs=1e-6)
    assert told.sd == pytest.approx(np.std(tomogram.array), rel=1e-6)
    assert densities_of(replace(tomogram, array=np.array(tomogram.array) + 0)).digest == told.digest
