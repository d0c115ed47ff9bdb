"""The command line: names, options and help of each command; what they do is in `tomopick.commands`.

Nothing heavy is imported here: `tomopick --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from tomopick.cli.average import average
from tomopick.cli.check import check
from tomopick.cli.convert import convert
from tomopick.cli.demo import demo
from tomopick.cli.evaluate import evaluate
from tomopick.cli.export import export
from tomopick.cli.imports import import_
from tomopick.cli.info import info
from tomopick.cli.memory import memory
from tomopick.cli.pick import pick
from tomopick.cli.report import report
from tomopick.cli.simulate import simulate
from tomopick.cli.train import train
from tomopick.cli.view import view
from tomopick.errors import TomopickError
from tomopick.interrupts import heard, listen

__all__ = ["app", "main"]

app = typer.Typer(
    name="tomopick",
    help="Find and classify protein particles in cryo-electron tomograms.\n\n"
    "The usual way: import (or simulate) a project, train on its annotated runs, pick the others, evaluate, report. "
    "`tomopick demo` does all of it in a few minutes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    demo,
    import_,
    simulate,
    check,
    train,
    pick,
    evaluate,
    report,
    view,
    average,
    convert,
    memory,
    export,
    info,
)
"""In the order of the help."""

INTERRUPTED = 130
"""The exit code after a keyboard interrupt, as shells have it."""

GOES_ON = {
    "pick": "; the same command goes on with the tomograms that are left",
    "train": "; the same command with --resume goes on after the last whole epoch",
}
"""What is done about an interrupted command, where it can go on."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tomopick {version('tomopick')}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What is said before any command."""


for _command in COMMANDS:
    app.command(_command.__name__.rstrip("_"))(_command)


def _one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, UserWarning):
        print(f"notice: {' '.join(str(message).split())}", file=sys.stderr)


def _end_interrupted() -> NoReturn:
    print(f"interrupted{GOES_ON.get(' '.join(sys.argv[1:2]), '')}", file=sys.stderr)
    raise SystemExit(INTERRUPTED) from None


def _refuse(reason: str) -> NoReturn:
    if heard():  # an error that a library made of the interrupt
        _end_interrupted()
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(2) from None


def main() -> None:
    """Run the command line. Bad input is one line on standard error and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch asks for huge pages: fresh ones cost a third
    warnings.showwarning = _one_line
    listen()
    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="tomopick", standalone_mode=False)
    except TomopickError as error:
        _refuse(str(error))
    except typer.TyperException as error:  # options and arguments that do not hold
        command = getattr(getattr(error, "ctx", None), "command_path", "tomopick")
        _refuse(f"{error.format_message().rstrip('.')}; see {command} --help")
    except OSError as error:
        _refuse(f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}")
    except MemoryError as error:
        _refuse(f"not enough memory: {error}")
    if code == INTERRUPTED:
        _end_interrupted()
    raise SystemExit(code if isinstance(code, int) else 0)
