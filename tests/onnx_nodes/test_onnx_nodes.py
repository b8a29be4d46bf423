"""Supported operators pass the node tests of the ONNX project, and the table is up to date.

A quarter of the tests run, at least one of every operator. `run.py` runs all of them, and so does
`pytest --whole`, which also compares every number of the table.
"""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx_node_cases import Result, node_tests, run_node_tests, supported, table
from parts import is_whole, quick_part

DOCUMENT = Path(__file__).parents[2] / "ellc" / "frontends" / "onnx" / "NODE_TESTS.md"
PARTS = 4

pytestmark = pytest.mark.slow  # tests/conftest.py runs both in one process, to share results


@functools.cache
def results() -> list[Result]:
    return run_node_tests(quick_part(node_tests(), 0, PARTS, covers=lambda t: [t.operator]))


def test_no_node_test_fails() -> None:
    failed = [f"{r.test.name}: {r.reason}" for r in results() if r.status == "failed"]
    assert not failed, "\n".join(failed)


def test_the_documented_table_is_what_the_tests_give() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    if f"`onnx` {onnx.__version__} " not in text:
        pytest.skip(f"the table is of another version of onnx than {onnx.__version__}")
    if is_whole():
        assert table(results()) in text, "python tests/onnx_nodes/run.py --write"
        assert f"**{len(supported(results()))} of" in text
        return
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    documented = {row[0]: row[1:3] for row in rows}
    for operator, count in Counter(r.test.operator for r in results()).items():
        ours = [r.status for r in results() if r.test.operator == operator]
        passed, declined = map(int, documented[operator])
        assert ours.count("passed") <= passed and ours.count("declined") <= declined, operator
        assert count <= passed + declined, operator
