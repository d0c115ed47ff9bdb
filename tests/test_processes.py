"""Work in several processes: in order, each with a number and threads of its own, and none lost in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from tomopick.errors import DataError
from tomopick.processes import in_order, place, share_of_threads


def told(task: int) -> tuple[int, int, int, int]:
    time.sleep(0.3)  # long enough for the other process to take a task as well
    return task, os.getpid(), place(), torch.get_num_threads()


def died(task: int) -> None:
    os._exit(1)


def test_each_process_has_a_number_and_its_threads():
    found = list(in_order(told, ((task,) for task in range(6)), 2, 3))
    assert [task for task, *_ in found] == list(range(6))
    assert {threads for *_, threads in found} == {3}
    numbers = {(process, number) for _, process, number, _ in found}
    assert sorted(number for _, number in numbers) == list(range(len(numbers)))
    assert os.getpid() not in {process for process, _ in numbers}


def test_one_job_works_here():
    assert [process for _, process, *_ in in_order(told, [(1,)], 1)] == [os.getpid()]


def test_a_process_that_dies_is_told():
    with pytest.raises(DataError, match="one of 2 processes ended early"):
        list(in_order(died, [(1,), (2,)], 2))


ENDLESS = """
import time
from tomopick.processes import in_order

def endless(task):
    print("begun", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    list(in_order(endless, [(1,), (2,)], 2))
"""


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
        started.kill()
        # the other end of the pipe is closed when the last of them has gone
        started.communicate(timeout=60)


def test_threads_are_shared_and_each_process_has_one_at_least(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [share_of_threads(jobs) for jobs in (1, 3, 8, 20)] == [8, 2, 1, 1]
