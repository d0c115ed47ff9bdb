"""What commands say of their progress where there is no terminal to draw a bar in."""

from __future__ import annotations

import pytest

from tomopick.commands import screen
from tomopick.commands.screen import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def test_a_log_tells_every_half_minute_how_far_it_is_and_how_long_the_rest_takes(clock, capfd):
    with progress_bar("TS_1 (1 of 2)") as tell:
        for second in range(201):
            clock[0] = 1000.0 + second
            tell(second / 200)
    assert capfd.readouterr().err.splitlines() == [
        "TS_1 (1 of 2): 15 %, about 3 minutes left",
        "TS_1 (1 of 2): 30 %, about 2 minutes left",
        "TS_1 (1 of 2): 45 %, about 2 minutes left",
        "TS_1 (1 of 2): 60 %, about 80 s left",
        "TS_1 (1 of 2): 75 %, about 50 s left",
        "TS_1 (1 of 2): 90 %, about 20 s left",
    ]


def test_what_is_done_soon_says_nothing(clock, capfd):
    with progress_bar("TS_1") as tell:
        for second in range(30):
            clock[0] = 1000.0 + second
            tell(second / 29)
    assert capfd.readouterr().err == ""
