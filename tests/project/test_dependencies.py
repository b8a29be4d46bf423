"""The dependency direction ir <- codegen <- ellc, read from the imports of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STANDARD = frozenset(sys.stdlib_module_names) | {"__future__"}
ALLOWED = {
    "ir": {"ir", "numpy"},
    "codegen": {"ir", "codegen", "numpy", "llvmlite", "jinja2", "cffi"},
    "ellc": {
        *("ir", "codegen", "ellc", "numpy", "llvmlite", "jinja2", "cffi"),
        *("click", "rich", "PIL", "onnx", "tflite", "flatbuffers"),
    },
}


def imported(source: str) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import in a file, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.lineno, (node.module or "").split(".")[0]


def violations(package: str, source: str) -> list[str]:
    allowed = STANDARD | ALLOWED[package]
    return [f"line {line}: {name}" for line, name in imported(source) if name not in allowed]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    bad = {
        str(path.relative_to(ROOT)): found
        for path in sorted((ROOT / package).rglob("*.py"))
        if (found := violations(package, path.read_text(encoding="utf-8")))
    }
    assert not bad


def test_the_check_sees_a_wrong_import() -> None:
    assert violations("ir", "def f():\n    import codegen.link") == ["line 2: codegen"]
    assert violations("codegen", "from ellc.cli import main") == ["line 1: ellc"]
    assert violations("ellc", "import json, ir.graph\nfrom codegen import targets") == []
