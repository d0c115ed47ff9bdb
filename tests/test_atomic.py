"""Files written through `replacing` are whole or not there."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tomopick.atomic import replacing
from tomopick.errors import DataError


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "picks.csv"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".csv"
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def write_half(target: Path, failure: BaseException) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "picks.csv"
    target.write_text("old")
    with pytest.raises(type(failure)):
        write_half(target, failure)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_disk_full_is_one_clear_line(tmp_path: Path) -> None:
    target = tmp_path / "picks.csv"
    target.write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DataError, match=r"picks\.csv: No space left on device; the old file is kept"):
        write_half(target, full)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_really_runs_out_of_room(tmp_path: Path) -> None:
    target = tmp_path / "picks.csv"
    target.write_text("old")
    script = (
        "import resource, signal, sys; from tomopick.atomic import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with replacing(sys.argv[1]) as t: t.write_bytes(b'x' * 5000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=False)
    assert "DataError: cannot write" in done.stderr
    assert "the old file is kept" in done.stderr
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_and_a_folder_as_target_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory"), replacing(tmp_path / "no" / "a.csv") as temporary:
        temporary.write_text("x")
    with pytest.raises(DataError, match="is a folder"), replacing(tmp_path):
        pass


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.csv"
    real.write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
