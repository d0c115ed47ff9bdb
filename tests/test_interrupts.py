"""An interrupt that a library swallows still ends the work."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tomopick import interrupts
from tomopick.commands.screen import progress_bar

EXEC = """
import signal, sys
from tomopick.interrupts import listen
listen()
try:
    exec("import signal; signal.raise_signal(signal.SIGINT)")
except KeyboardInterrupt:
    pass
sys.exit(130)
"""


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupts, "_heard", False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts.listen()
    yield
    signal.signal(signal.SIGINT, before)


def work(steps: list[int]) -> None:
    """Five steps, of which the third swallows an interrupt."""
    with progress_bar("work") as done:
        for step in range(5):
            done(step / 5)
            steps.append(step)
            if step == 2:
                with suppress(BaseException):
                    signal.raise_signal(signal.SIGINT)


def test_a_swallowed_interrupt_ends_the_loop_that_shows_progress(listening: None) -> None:
    steps: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        work(steps)
    assert steps == [0, 1, 2]


def test_nothing_ends_without_an_interrupt(listening: None) -> None:
    interrupts.stop_if_heard()
    assert not interrupts.heard()


def test_ignored_interrupts_stay_ignored(listening: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.listen()
    signal.raise_signal(signal.SIGINT)
    assert not interrupts.heard()


def test_an_interrupt_within_an_exec_keeps_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "caught.py").write_text(EXEC)
    words = [sys.executable, "-m", "caught"]
    done = subprocess.run(
        words, check=False, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    assert done.returncode == 130


def test_a_process_that_another_waits_for_ends_at_its_next_step(listening: None) -> None:
    interrupts.remember()
    signal.raise_signal(signal.SIGINT)
    assert interrupts.heard()
    with pytest.raises(interrupts.Interrupt):
        interrupts.stop_if_heard()
