"""Run the node tests of the ONNX project with compiled code, and write the table of results.

    python tests/onnx_nodes/run.py [--only PATTERN] [--write] [--failed]

`--write` writes the table to ellc/frontends/onnx/NODE_TESTS.md; `--failed` lists failed tests.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import onnx  # noqa: E402
from onnx_node_cases import OTHERWISE, node_tests, run_node_tests, supported, table  # noqa: E402

DOCUMENT = ROOT / "ellc" / "frontends" / "onnx" / "NODE_TESTS.md"


def document(results: list) -> str:
    """The text of the page."""
    count = {s: sum(r.status == s for r in results) for s in ("passed", "declined", "failed")}
    operators = {r.test.operator for r in results}
    fixed = sum(bool(r.fixed) for r in results if r.status == "passed")
    return "\n".join(
        [
            "# ONNX's own node tests",
            "",
            f"The tests that the package `onnx` {onnx.__version__} ships (`onnx.backend.test`),",
            "each imported, compiled for the host and run; written by",
            "`python tests/onnx_nodes/run.py --write`. Operators with a passed test:",
            f"**{len(supported(results))} of {len(operators)}**. Tests: {count['passed']} passed,",
            f"{count['declined']} declined with a report, {count['failed']} failed.",
            "A compiler needs shapes and weights beforehand:",
            f"in {fixed} of the passed tests inputs were made constants of the model.",
            f"{len(OTHERWISE)} tests are left out in which onnxruntime and PyTorch compute",
            "otherwise; ellc follows them.",
            "Declined means that `ellc` says what it does not take, before any code is made.",
            "",
            table(results),
            "",
        ]
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="regular expression on test names")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("--declined", action="store_true")
    given = parser.parse_args()
    tests = [t for t in node_tests() if re.search(given.only, t.name)]
    results = run_node_tests(tests)
    if given.write:
        DOCUMENT.write_text(document(results), encoding="utf-8")
    for result in results:
        shown = result.status == "failed" and given.failed
        if shown or (result.status == "declined" and given.declined):
            print(f"{result.test.name}: {result.status}: {result.reason}")
    print(document(results).split("\n\n")[1])


if __name__ == "__main__":
    main()
