"""The folders of `codegen` are in a strict order, and no imports are circular."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"ir": "ellc.ir", "codegen": "ellc.codegen", "ellc": "ellc"}
ROOMS = (
    *("languages", "machine", "toolchain", "kir"),
    *("blocks", "kernels", "planning", "output", "measure"),
)
"""The folders in order: a file may import from its own folder and those before it."""
MOST_FILE_LINES, MOST_FUNCTION_LINES = 527, 60


def modules() -> dict[str, Path]:
    """All modules of the project, by dotted name."""
    found = {}
    for folder, package in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in inner)


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: {*imports(path, known)} - {name} for name, path in known.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules with circular imports (strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found


def room(module: str) -> str:
    """The folder of `codegen` that contains a module; empty for other modules."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["ellc", "codegen"] and len(parts) > 2 else ""


def group_of(module: str) -> str:
    """The folder of passes that contains a module; empty for other modules."""
    parts = module.split(".")
    return parts[3] if parts[:3] == ["ellc", "ir", "passes"] and len(parts) > 4 else ""


def upward(edges: dict[str, set[str]]) -> list[str]:
    return [
        f"{name} imports {other}"
        for name, others in sorted(edges.items())
        for other in sorted(others)
        if room(name) and room(other) and ROOMS.index(room(other)) > ROOMS.index(room(name))
    ]


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {p.parent.name for p in (ROOT / "codegen").glob("*/__init__.py")}
    assert folders == set(ROOMS)
    assert [p.name for p in (ROOT / "codegen").glob("*.py")] == ["__init__.py"]


@pytest.mark.slow
def test_no_import_goes_upward() -> None:
    assert not upward(graph())


@pytest.mark.slow
def test_folders_of_passes_import_nothing_of_each_other() -> None:
    folders = {p.parent.name for p in (ROOT / "ir/passes").glob("*/__init__.py")}
    assert folders == {"canonicalise", "layout", "fold", "fuse"}
    crossing = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if {group_of(name), group_of(other)} <= folders and group_of(name) != group_of(other)
    ]
    assert not crossing


@pytest.mark.slow
def test_no_circular_imports_between_files() -> None:
    assert not circles(graph())


def long_parts(path: Path) -> Iterator[str]:
    """Descriptions of what is too long: the file itself, or functions in it."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT)
    if (lines := text.count("\n")) > MOST_FILE_LINES:
        yield f"{where}: {lines} lines"
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, ast.FunctionDef) and part.end_lineno is not None:
            lines = part.end_lineno - part.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                yield f"{where}: {part.name} has {lines} lines"


@pytest.mark.slow
def test_files_and_functions_are_short() -> None:
    folders = ("ir", "codegen", "ellc", "tests", "examples", "docs")
    paths = [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    assert [long for path in paths for long in long_parts(path)] == []


def test_the_checks_see() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(edges) == [["a", "b", "c"]]
    wrong = {"ellc.codegen.kir.text": {"ellc.codegen.planning.plan"}}
    assert upward(wrong) == ["ellc.codegen.kir.text imports ellc.codegen.planning.plan"]
