"""Compare ONNX operators on special values with ONNX Runtime. This is not part of the tests.

    python tests/benchmarks/special_onnx.py [--only OPERATOR] [--rounds 3]

Takes the node tests of the ONNX project, and puts NaN, infinities, zeros or denormals into some
elements of their inputs. Compares the imported graph after the passes, in the reference executor,
with `onnxruntime`, which must be installed and runs node by node. (`tests/ops` compares compiled
code with the reference.) Prints a row for each operator with floats: how many calls have different
results. The exit code is 1 if an operator differs that is not in `KNOWN`, or if one in `KNOWN` does
not differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
from onnx_node_cases import Imported, NodeTest, imported, node_tests  # noqa: E402
from special_values import KINDS, sprinkled  # noqa: E402

from ellc.ir.interp import evaluate  # noqa: E402
from ellc.ir.types import Array  # noqa: E402

_KEPT = "NaN stays NaN, as in NumPy and PyTorch; onnxruntime loses it"
_SEARCH = "NaN never wins; in onnxruntime it wins as the first element, and only there"
_ORDER = "infinity minus infinity, or 0 times infinity: sums have another order or form"
_ZEROS = "a kernel of zeros among others: 0 times NaN or infinity is NaN"
_BOUNDS = "onnxruntime clips to, or starts from, the least finite number where no bound is stated"
_BIAS = "onnxruntime clamps a sum with a bias and loses NaN"
_NO_STATE = "onnxruntime skips a state that is not given, where a state of zeros gives NaN"
_SLIDING = "onnxruntime's sum slides along the channels and keeps what was NaN or infinite"
_WEIGHTS = "onnxruntime multiplies neighbours of weight 0, and copies of the edge one by one: NaN"
_PLACES = "a place that is not finite is an undefined integer in onnxruntime"
_INTEGER = "NaN and infinities as integers are undefined in ONNX; 0 and the ends here"
_MASK = "a mask is added, as in ONNX's function; onnxruntime skips what is masked otherwise"
KNOWN: dict[str, dict[str, str]] = {
    "ArgMax": {"nan": _SEARCH},
    "ArgMin": {"nan": _SEARCH},
    "Attention": {"nan": _MASK, "infinities": _MASK},
    "Clip": {"infinities": _BOUNDS},
    "Col2Im": {"nan": _ZEROS, "infinities": _ZEROS},
    "ConvTranspose": {"nan": _ZEROS, "infinities": _ZEROS},
    "DFT": {"infinities": _ORDER},
    "DynamicQuantizeLinear": {"nan": _KEPT, "infinities": _INTEGER},
    "GRU": {"nan": _BIAS, "infinities": _BIAS},
    "GlobalMaxPool": {"nan": _KEPT},
    "GridSample": {"nan": _PLACES, "infinities": _PLACES},
    "Hardmax": {"nan": _SEARCH},
    "InstanceNormalization": {"infinities": _ORDER},
    "LRN": {"nan": _SLIDING, "infinities": _SLIDING},
    "LSTM": {"nan": _BIAS, "infinities": _BIAS},
    "LayerNormalization": {"infinities": "the mean of an infinity is one; NaN in onnxruntime"},
    "MaxPool": {"nan": _KEPT, "infinities": _BOUNDS},
    "Pow": {"nan": _INTEGER, "infinities": _INTEGER},
    "RNN": {"nan": _NO_STATE, "infinities": _NO_STATE},
    "ReduceMax": {"nan": _KEPT},
    "ReduceMin": {"nan": _KEPT},
    "ReduceProd": {"denormals": "products below the normal range are rounded in another order"},
    "Resize": {"nan": _WEIGHTS, "infinities": _WEIGHTS},
    "STFT": {"infinities": _ORDER},
    "ScatterElements": {"nan": _KEPT},
    "ScatterND": {"nan": _KEPT},
    "TopK": {"nan": "NaN never wins; in onnxruntime it is the largest"},
}
"""Operators and kinds of values for which ellc and onnxruntime differ, with the reason."""
PLAIN = ""
"""The kind of the unchanged inputs; differences for them are not due to special values."""


@dataclass
class Row:
    """By kind of values: the numbers of an operator's calls and of those that differ; examples."""

    calls: Counter[str] = field(default_factory=Counter)
    different: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def difference(got: Array, want: Array) -> str:
    """A description of the difference; empty if results agree, NaN and infinities included."""
    if got.shape != want.shape or got.dtype.kind != want.dtype.kind:
        return f"{got.dtype}{got.shape} for {want.dtype}{want.shape}"
    if got.dtype.kind == "f":
        scale = float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0))
        wrong = ~np.isclose(got, want, rtol=1e-3, atol=1e-3 * scale, equal_nan=True)
    else:
        wrong = np.asarray(got != want)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size}, first {place}: {got[place]} for {want[place]}"


def compare(test: NodeTest, made: Imported, rounds: int, row: Row) -> str:
    """Compare a test, and count its calls in `row`.

    Returns the reason if it cannot be compared, else an empty string.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    names = [v.name for v in test.model.graph.input]
    open_names = [p.name for p in made.graph.inputs]
    try:
        session = onnxruntime.InferenceSession(test.model.SerializeToString(), options)
    except Exception:
        return "not read by onnxruntime"
    plain = dict(zip(names, test.inputs, strict=True))
    for kind in (PLAIN, *KINDS):
        for seed in range(rounds if kind else 1):
            rng = np.random.default_rng(seed)
            changed = {n: sprinkled(np.asarray(plain[n]), kind, rng) for n in open_names if kind}
            said = _called(session, made, plain | changed, open_names)
            if said is None:
                return "not run by onnxruntime"
            row.calls[kind] += 1
            row.different[kind] += bool(said)
            row.examples[kind] += [f"{test.name}, seed {seed}: {said}"] if said else []
        if row.different[PLAIN]:
            break
    return ""


def _called(session: Any, made: Imported, feeds: dict[str, Any], names: list[str]) -> str | None:
    """How the results of a call differ; None if onnxruntime cannot run it."""
    try:
        wanted = session.run(None, feeds)
    except Exception:
        return None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(made.graph, tuple(np.asarray(feeds[n]) for n in names)).outputs
    pairs = enumerate(zip(found, wanted, strict=True))
    said = [(i, difference(got, np.asarray(want))) for i, (got, want) in pairs]
    return "; ".join(f"output {i}: {text}" for i, text in said if text)


def _is_wanted(test: NodeTest, only: str) -> bool:
    """Whether a test has floats, and tests the operator, not the function that defines it."""
    types = (np.float32, np.float64)
    floats = any(isinstance(x, np.ndarray) and x.dtype in types for x in test.inputs)
    return floats and only in ("", test.operator) and "_expanded" not in test.name


def rows(only: str, rounds: int) -> tuple[dict[str, Row], Counter[str]]:
    """The rows by operator, and the number of tests for each reason why they were not compared.

    Tests that were compared are counted with an empty reason.
    """
    found: dict[str, Row] = defaultdict(Row)
    left: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="ellc-special-") as folder:
        for test in node_tests():
            if not _is_wanted(test, only):
                continue
            made = imported(test, Path(folder))
            if isinstance(made, Imported) and made.graph.inputs:
                left[compare(test, made, rounds, found[test.operator])] += 1
            else:
                left["not imported"] += 1
    return dict(sorted(found.items())), left


def surprises(found: dict[str, Row]) -> list[str]:
    """Differences that are not in `KNOWN`, and rows of `KNOWN` without a difference."""
    said = []
    for operator, row in found.items():
        for kind in KINDS:
            known = kind in KNOWN.get(operator, {})
            if known != bool(row.different[kind]):
                examples = row.examples[kind][:3] or ["equal, though it is said to differ"]
                said += [f"{operator}, {kind}: {text}" for text in examples]
    return said


def main() -> None:
    """Compare and print the results; sets the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="this operator")
    parser.add_argument("--rounds", type=int, default=3, help="calls with each kind of values")
    given = parser.parse_args()
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        sys.exit("onnxruntime is not installed: pip install onnxruntime")
    found, left = rows(given.only, given.rounds)
    print(f"| operator | calls | {' | '.join(KINDS)} | why |\n|---|---:|{'---:|' * len(KINDS)}---|")
    for operator, row in found.items():
        cells = [str(row.different[kind] or "") for kind in KINDS]
        reasons = dict.fromkeys(KNOWN.get(operator, {}).values())
        plain = ["differs for plain numbers"] if row.different[PLAIN] else []
        calls = sum(row.calls.values())
        print(f"| {operator} | {calls} | {' | '.join(cells)} | {'; '.join([*plain, *reasons])} |")
    print(*(f"{count} tests {why or 'compared'}" for why, count in left.items()), sep=", ")
    said = surprises(found)
    print(*said, sep="\n")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
