"""The command line itself: its help, and what it answers to wrong words."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tomopick import cli

COMMANDS = [
    "demo", "import", "simulate", "check", "train", "pick", "evaluate", "report", "average", "convert", "memory",
    "export", "view", "info",
]  # fmt: skip


def answer(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tomopick", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_lists_every_command(words, monkeypatch, capsys):
    assert answer(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


def test_the_list_of_commands_here_is_whole():
    registered = [c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback]
    assert sorted(registered) == sorted(COMMANDS)


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert answer(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"tomopick {stated}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_of_it(name, monkeypatch, capsys):
    assert answer(monkeypatch, name, "--help") == 0
    _, _, examples = capsys.readouterr().out.partition("Example")
    assert f"tomopick {name}" in examples


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from tomopick import cli\n"
        f"sys.argv = ['tomopick', *{words}]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = ['torch', 'pandas', 'numpy', 'scipy', 'copick', 'zarr', 'matplotlib', 'pytorch_lightning', 'monai']\n"
        "print('LOADED', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pcik"], "'pcik'"),
        (["--fast"], "--fast"),
        (["pick"], "model"),
        (["pick", "m", "in", "--out", "p.csv", "--stride", "four"], "--stride"),
        (["pick", "m", "in", "--out", "p.csv", "--voxel-spacing", "-10"], "--voxel-spacing"),
        (["evaluate", "--truth", "t", "--picks", "p", "--beta", "0"], "--beta"),
        (["train", "p", "--out", "o", "--epochs", "0"], "--epochs"),
        (["simulate", "o", "--shape", "48", "64"], "--shape"),
        (["memory", "--out", "o", "--classes", "1"], "--classes"),
    ],
)
def test_wrong_words_are_answered_by_one_line(words, said, monkeypatch, capsys):
    assert answer(monkeypatch, *words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err
    assert "--help" in shown.err


def test_bad_input_ends_a_process_with_2_and_one_line(tmp_path):
    words = [sys.executable, "-m", "tomopick", "info", str(tmp_path / "nothing.mrc")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: there is no file or folder {tmp_path / 'nothing.mrc'}\n"


def test_ctrl_c_ends_with_one_line_and_leaves_no_half_project(tmp_path):
    words = ["simulate", str(tmp_path / "p"), "--runs", "50", "--shape", "32", "48", "48"]
    words = [sys.executable, "-m", "tomopick", *words]
    # a shell's background job, as this test may be of one, has its interrupts ignored, and so have its children
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not (tmp_path / "p/truth.csv").exists() and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert (running.returncode, out) == (130, "")
    told, last = err.splitlines()
    assert re.fullmatch(r"notice: [1-9]\d? of 50 tomograms are kept: the same command goes on with the others", told)
    assert last == "interrupted"
    assert not (tmp_path / "p" / "config.json").exists()


def test_help_names_every_network() -> None:
    from tomopick.cli.options import NETWORKS
    from tomopick.models.registry import names

    assert [name for name in names() if name not in NETWORKS] == []
