"""A tomogram and its picks as one script that ChimeraX opens."""

from __future__ import annotations

from pathlib import Path

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.io.cmm import write_cmm
from tomopick.picks import Picks

__all__ = ["write_cxc"]

MARKERS = ".cmm"


def write_cxc(path: Path, picks: Picks, tomogram: str | None) -> None:
    """Write the picks of one tomogram as markers, and beside them the script that opens both.

    Args:
        path: the script; the markers have the same name and the ending .cmm.
        picks: of one run.
        tomogram: the file, from the script's folder (where ChimeraX goes as it runs one); None leaves it to the user.

    Raises:
        DataError: the picks are of several runs, a name cannot be quoted, or a file cannot be written; an old one
            survives.
    """
    if len(picks.runs) > 1:
        raise DataError(f"{path}: a script is of one tomogram, and these picks are of {', '.join(picks.runs)}")
    beside = path.with_suffix(MARKERS)
    lines = ["# written by tomopick: open it in ChimeraX"]
    if tomogram is None:
        lines.append("# the tomogram is not a file that ChimeraX reads; open it beside this")
    else:
        # planes first, since the surface of a tomogram shows little; the slider of Volume Viewer goes through them
        lines += [f"open {_quoted(tomogram, path)}", "volume #1 style image region all step 1 plane z", "view orient"]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, f"open {_quoted(beside.name, path)}", ""]), encoding="utf-8")
    write_cmm(beside, picks)


def _quoted(name: str, path: Path) -> str:
    """The name as one word of a command."""
    if any(not c.isprintable() or c in '"\\' for c in name):
        raise DataError(f"cannot write {path}: ChimeraX cannot be told the name {name!r}; rename the file")
    return f'"{name}"'
