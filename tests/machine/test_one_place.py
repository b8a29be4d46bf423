"""Only `codegen/machine` compares names of CPUs, architectures or triples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ellc.codegen.machine.core import core_names
from ellc.codegen.machine.isa import ISAS

ROOT = Path(__file__).resolve().parents[2]
NAMES = {*core_names(), *ISAS, "thumb", "generic"}
PREFIX_METHODS = ("startswith", "endswith")
NAME_ATTRIBUTES = ("cpu", "arch", "triple")


def comparisons(source: str) -> Iterator[int]:
    """The lines that compare with the name of a core or architecture, or a part of a triple."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare(left=left, comparators=others):
                compared = [c for o in (left, *others) for c in ast.walk(o)]
            case ast.MatchValue(value=value):
                compared = [value]
            case ast.Call(func=ast.Attribute(attr=method, value=ast.Attribute(attr=attribute))):
                if method in PREFIX_METHODS and attribute in NAME_ATTRIBUTES:
                    yield node.lineno
                continue
            case _:
                continue
        if any(isinstance(c, ast.Constant) and c.value in NAMES for c in compared):
            yield node.lineno


@pytest.mark.slow
def test_names_of_machines_are_compared_in_one_place() -> None:
    machine = ROOT / "codegen" / "machine"
    bad = {
        str(path.relative_to(ROOT)): lines
        for folder in ("ir", "codegen", "ellc")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if machine not in path.parents and (lines := [*comparisons(path.read_text("utf-8"))])
    }
    assert not bad


def test_comparisons_are_found() -> None:
    source = (
        'if target.arch == "arm": pass\n'
        'if target.cpu in ("cortex-a53", x): pass\n'
        'if target.triple.startswith("armv8"): pass\n'
        "match target.arch:\n"
        '    case "aarch64": pass\n'
    )
    assert sorted(comparisons(source)) == [1, 2, 3, 5]
    assert not [*comparisons('if target.os == "linux" and host.arch == target.arch: pass')]
