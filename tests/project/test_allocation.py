"""Importers allocate arrays through the budget of an import, never directly with numpy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ellc/frontends/onnx", "ellc/frontends/tflite", "ellc/frontends/graph_import")
ALLOCATORS = frozenset(
    ("arange", "broadcast_to", "empty", "eye", "full", "indices", "linspace", "meshgrid", "ones")
) | frozenset(("pad", "repeat", "resize", "tile", "tri", "zeros"))


def test_arrays_of_computed_shapes_are_asked_of_the_budget() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in _allocations(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"use emitter.full, .counted or .want_room: {found}"


def test_only_calls_with_computed_sizes_are_found() -> None:
    assert list(_allocations("np.zeros(n)\nnp.full((1, 2), x)\nnp.tile(a, (n, 1))\nnp.ones(())"))\
        == [1, 3]  # fmt: skip
    assert (
        list(_allocations("np.arange(256.0)\nnp.zeros((1,) * rank)\nnp.full((1,) if r else (), x)"))
        == []
    )


def _allocations(source: str) -> Iterator[int]:
    """The lines of calls that allocate an array whose size is not a literal."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("np"), attr=name)) if (
                name in ALLOCATORS
            ):
                sizes = node.args if name in ("arange", "linspace") else node.args[:1]
                if name in ("tile", "broadcast_to", "repeat", "resize", "pad"):
                    sizes = node.args[1:2]
                if not all(map(_is_small, sizes)):
                    yield node.lineno


def _is_small(size: ast.expr) -> bool:
    """Whether the source shows a small size: it has only literals, or a 1 for each axis."""
    match size:
        case ast.Constant() | ast.Name(id="_POINTS"):
            return True
        case ast.Tuple(elts=parts):
            return all(map(_is_small, parts))
        case ast.BinOp(left=ast.Tuple(elts=[ast.Constant(1)]), op=ast.Mult()):
            return True
        case ast.IfExp(body=body, orelse=other):
            return _is_small(body) and _is_small(other)
    return False
