"""Supported operators pass the node tests of the ONNX project, and the table is up to date.

A third of the tests are compiled and run, at least one of every operator. `run.py` runs all of
them, and so does `pytest --whole`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import onnx
import pytest
from onnx_node_cases import Result, node_tests, run_node_tests, supported, table

DOCUMENT = Path(__file__).parents[2] / "ellc" / "frontends" / "onnx" / "NODE_TESTS.md"

PARTS = 3

pytestmark = pytest.mark.slow  # tests/conftest.py runs both in one process, to share results


@functools.cache
def results() -> list[Result]:
    return run_node_tests(node_tests(), PARTS)


def test_no_node_test_fails() -> None:
    failed = [f"{r.test.name}: {r.reason}" for r in results() if r.status == "failed"]
    assert not failed, "\n".join(failed)


def test_the_documented_table_is_what_the_tests_give() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    if f"`onnx` {onnx.__version__} " not in text:
        pytest.skip(f"the table is of another version of onnx than {onnx.__version__}")
    assert table(results()) in text, "python tests/onnx_nodes/run.py --write"
    assert f"**{len(supported(results()))} of" in text
