"""Check the dependencies ellc.ir <- ellc.codegen <- ellc with the imports of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STANDARD = frozenset(sys.stdlib_module_names) | {"__future__"}
PARTS = ("ir", "codegen")
"""Folders that are packages in `ellc` through symbolic links."""
ALLOWED = {
    "ir": {"ellc.ir", "numpy"},
    "codegen": {"ellc.ir", "ellc.codegen", "numpy", "llvmlite", "jinja2", "cffi"},
    "ellc": {
        *("ellc.ir", "ellc.codegen", "ellc", "numpy", "llvmlite", "jinja2", "cffi"),
        *("click", "rich", "PIL", "onnx", "tflite", "flatbuffers", "distributed", "h5py"),
    },
}


def imported(source: str) -> Iterator[tuple[int, str]]:
    """(line, package) of every import in a file, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, package_of(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, package_of(name)) for name in names)


def package_of(module: str) -> str:
    """The package of a module: a package of the project, or the installed package."""
    first, second, *_ = *module.split("."), ""
    return f"ellc.{second}" if first == "ellc" and second in PARTS else first


def violations(package: str, source: str) -> list[str]:
    allowed = STANDARD | ALLOWED[package]
    return [f"line {line}: {name}" for line, name in imported(source) if name not in allowed]


@pytest.mark.slow
@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    bad = {
        str(path.relative_to(ROOT)): found
        for path in sorted((ROOT / package).rglob("*.py"))
        if (found := violations(package, path.read_text(encoding="utf-8")))
    }
    assert not bad


def test_the_check_sees_a_wrong_import() -> None:
    assert violations("ir", "def f():\n    import ellc.codegen.link") == ["line 2: ellc.codegen"]
    assert violations("ir", "from ellc import codegen") == ["line 1: ellc.codegen"]
    assert violations("codegen", "from ellc.cli import main") == ["line 1: ellc"]
    assert violations("codegen", "from codegen import plan") == ["line 1: codegen"]
    assert violations("ellc", "import json, ellc.ir.graph\nfrom ellc.codegen import targets") == []
