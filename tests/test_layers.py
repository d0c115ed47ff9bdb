"""The table of docs/architecture.md is true: who imports what, inside functions too, and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tomopick"
DOCUMENT = ROOT / "docs" / "architecture.md"
SLOW = {"torch", "pandas", "scipy", "copick", "matplotlib", "monai", "pytorch_lightning", "zarr", "h5py", "starfile"}


@dataclass(frozen=True)
class Room:
    """A row of the table."""

    name: str
    modules: tuple[str, ...]
    rooms: tuple[str, ...]
    libraries: tuple[str, ...]


def listed(cell: str) -> tuple[str, ...]:
    return tuple(item.strip(" `") for item in cell.split(",") if item.strip())


def table() -> list[Room]:
    """The rooms of the document, from its one table of four columns."""
    rows = [line.strip("|").split("|") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return [Room(name.strip(), *map(listed, cells)) for name, *cells in rows[1:]]


def name_of(path: Path) -> str:
    """The module's name within the package; that of the package itself is tomopick."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "tomopick"


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = table()


def imported(path: Path) -> tuple[set[str], set[str]]:
    """The modules of the package, and the libraries, that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    inner = {name.removeprefix("tomopick.") for name in names if name.split(".")[0] == "tomopick"}
    # a name that is no module is something in one: drop last parts until a module is left
    modules = {longest_module(name) for name in inner}
    libraries = {name.split(".")[0] for name in names} - {"tomopick", *sys.stdlib_module_names}
    return modules, libraries


def longest_module(name: str) -> str:
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "tomopick"


def room_of(module: str) -> Room | None:
    """The room that names the module, or else its package."""
    while module:
        for room in ROOMS:
            if module in room.modules:
                return room
        module = module.rpartition(".")[0]
    return None


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module):
    room = room_of(module)
    assert room is not None, f"docs/architecture.md does not name {module}: give it a room"
    modules, libraries = imported(MODULES[module])
    for other in modules:
        there = room_of(other)
        assert there is not None, f"docs/architecture.md does not name {other}: give it a room"
        assert there.name in (room.name, *room.rooms), f"{module} ({room.name}) imports {other} ({there.name})"
    assert libraries <= set(room.libraries), f"{module} ({room.name}) imports {libraries - set(room.libraries)}"


def test_every_name_of_the_table_is_there():
    known = {room.name for room in ROOMS}
    assert len(ROOMS) > 10
    for room in ROOMS:
        assert set(room.rooms) <= known
        assert set(room.modules) <= set(MODULES)


def test_rooms_stand_above_those_they_import():
    above: set[str] = set()
    for room in ROOMS:
        assert set(room.rooms) <= above, f"{room.name} imports a room below it in the table"
        above.add(room.name)


def test_no_module_imports_itself_in_a_circle():
    edges = {name: imported(path)[0] - {name} for name, path in MODULES.items()}
    TopologicalSorter(edges).prepare()  # raises CycleError, which names the circle


def test_the_picture_names_only_what_there_is():
    picture = DOCUMENT.read_text().split("```")[1]
    last_parts = {name.rpartition(".")[2] for name in MODULES}
    for name in ("io", "data", "models", "training", "inference", "matching", "simulate", "report"):
        assert name in picture
        assert name in last_parts


@pytest.mark.parametrize("module", ["tomopick", "tomopick.cli"])
def test_starting_loads_no_slow_library(module):
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert SLOW & set(done.stdout.split()) == set()
