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
            "`python tests/onnx_nodes/run.py --write` generates this page. For the host, it",
            "imports, compiles and runs each test in `onnx.backend.test` of the package",
            f"`onnx` {onnx.__version__} on its own.",
            f"**{len(supported(results))} of {len(operators)}** operators have a",
            f"passed test. {count['passed']} tests passed, {count['declined']} were declined,",
            f"{count['failed']} failed. Declined means that `ellc` reports what it does not",
            "support, and generates no code.",
            f"In {fixed} of the passed tests, inputs became constants of the model, because a",
            "compiler needs shapes and weights at compile time.",
            f"{len(OTHERWISE)} tests are left out, because onnxruntime and PyTorch give other",
            "results than the test expects; ellc follows onnxruntime and PyTorch.",
            "",
            table(results),
            "",
        ]
    )


def main() -> None:
    """Run the program that the module docstring describes."""
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
