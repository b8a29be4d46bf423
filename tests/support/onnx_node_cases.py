"""Run the node tests of the ONNX project with code that is compiled for this machine.

A test is a model of one operator (or of the function that defines it) with inputs and expected
outputs. ellc needs the values of some inputs at compile time. So more and more inputs of a test
become constants until it compiles: with none, with integer inputs except the first, with all
inputs except the first, with all integer inputs, with all inputs. The constants are the test's
inputs; the result names them. If all inputs are constant, the folded outputs are compared. Networks
in half precision are computed in float32, and compared within the rounding error of half precision.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.onnx.read import read_onnx
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType

HALVES = {"float16": 2e-3, "bfloat16": 2e-2}
"""Types of half precision, with the relative error of two roundings to them."""
OTHERWISE = frozenset(
    f"test_resize_downsample_scales_{mode}_align_corners" for mode in ("cubic", "linear")
)
"""Tests that are not run, because ellc's results differ from ONNX's reference. In these tests, size
times scale is not an integer; ellc, like onnxruntime and PyTorch, aligns the corners of the whole
result."""
CHUNK = 600
"""Number of models in a program; equal kernels of a program are compiled once."""

Status = Literal["passed", "declined", "failed"]


@dataclass(frozen=True)
class NodeTest:
    """A test of `operator`, or of the function that defines it."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Result:
    """The result of a test. `reason` says why it was declined or how it failed."""

    test: NodeTest
    status: Status
    reason: str = ""
    fixed: tuple[str, ...] = field(default=())


def node_tests() -> list[NodeTest]:
    """All node tests of the installed `onnx` package, sorted by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package divides by zero on purpose
        cases = [c for c in collect_testcases(None) if c.kind == "node" and c.name not in OTHERWISE]
    about: dict[str, str] = {}
    tests = []
    for case in cases:
        base = re.sub(r"_expanded(_ver\d+)?$", "", case.name)
        kinds = [_kind(node) for node in case.model.graph.node]
        operator = about.setdefault(base, kinds[-1])
        (inputs, outputs), *_ = case.data_sets
        tests.append(
            NodeTest(
                case.name,
                operator,
                case.model,
                tuple(map(_array, inputs)),
                tuple(map(_array, outputs)),
                case.rtol,
                case.atol,
            )
        )
    return sorted(tests, key=lambda t: t.name)


def run_node_tests(tests: Sequence[NodeTest]) -> list[Result]:
    """Import, compile for this machine, run and compare every test."""
    found: dict[str, Result] = {}
    ready: list[tuple[NodeTest, Imported]] = []
    with tempfile.TemporaryDirectory(prefix="ellc-nodes-") as folder:
        for test in tests:
            made = imported(test, Path(folder))
            if isinstance(made, Result):
                found[test.name] = made
            else:
                ready.append((test, made))
    for start in range(0, len(ready), CHUNK):
        part = ready[start : start + CHUNK]
        trials = [Trial(m.graph, (m.inputs,)) for _, m in part]
        for (test, made), answer in zip(part, run_trials(trials, resolve("host")), strict=True):
            found[test.name] = _judged(test, made, answer)
    return [found[t.name] for t in tests]


@dataclass(frozen=True)
class Imported:
    """The graph of a test after all passes, its inputs, and the names of its constant inputs."""

    graph: Graph
    inputs: tuple[Array, ...]
    fixed: tuple[str, ...]


def _kind(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def imported(test: NodeTest, folder: Path) -> Imported | Result:
    """The graph of a test, or the reason why the last attempt to import it failed."""
    declined: Result | None = None
    if not all(isinstance(x, np.ndarray | np.generic) for x in (*test.inputs, *test.outputs)):
        return Result(test, "declined", "sequences, optional values and strings are no tensors")
    for array in (*test.inputs, *test.outputs):
        if not (_has_type(array) or _is_half(array)):
            return Result(test, "declined", f"values of type {array.dtype}")
    for fixed in _attempts(test):
        try:
            graph = _read(test, fixed, folder)
        except EllcError as error:
            declined = Result(test, "declined", _reason(error))
            continue
        except Exception as error:
            return Result(test, "failed", f"import: {error!r}", fixed)
        try:
            graph, _ = run_pipeline(graph)
        except Exception as error:
            return Result(test, "failed", f"passes: {str(error).splitlines()[0]}", fixed)
        names = [p.name for p in graph.inputs]
        given = {v.name: x for v, x in zip(test.model.graph.input, test.inputs, strict=True)}
        inputs = tuple(_widened(np.asarray(given[n])) for n in names)
        if [x.shape for x in inputs] != [t.shape for t in graph.input_types()]:
            return Result(test, "declined", "its data has another shape than its model says", fixed)
        return Imported(graph, inputs, fixed)
    assert declined is not None
    return declined


def _array(value: Any) -> Any:
    """A numpy array; some tests have protobuf messages instead."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _is_half(array: Array) -> bool:
    return np.asarray(array).dtype.name in HALVES


def _widened(array: Array) -> Array:
    return array.astype(np.float32) if _is_half(array) else array


def _has_type(array: Array) -> bool:
    try:
        DType.of(array.dtype)
    except KeyError:
        return False
    return True


def _attempts(test: NodeTest) -> Iterator[tuple[str, ...]]:
    """Sets of inputs to make constant, the smallest first."""
    names = [v.name for v in test.model.graph.input]
    of_integers = [
        n for n, x in zip(names, test.inputs, strict=True) if np.asarray(x).dtype.kind in "iub"
    ]
    tried = []
    for fixed in ([], [n for n in of_integers if n != names[0]], names[1:], of_integers, names):
        if fixed not in tried:
            tried.append(fixed)
            yield tuple(fixed)


def _read(test: NodeTest, fixed: Sequence[str], folder: Path) -> Graph:
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    values = dict(zip([v.name for v in model.graph.input], test.inputs, strict=True))
    for name in fixed:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values[name]), name))
    left = [v for v in model.graph.input if v.name not in fixed]
    del model.graph.input[:]
    model.graph.input.extend(left)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return read_onnx(path, ImportOptions())


def _reason(error: EllcError) -> str:
    text = error.problems[0] if error.problems else error.message
    # `name (Kind): reason` -> reason, since the table already names the operator.
    return re.sub(r"^\S* ?\([\w.]+\): ", "", text)


def _judged(test: NodeTest, made: Imported, answer: list[Any] | Exception) -> Result:
    if isinstance(answer, EllcError):
        # The command line also declines an operator without a kernel, with a report.
        declined = answer.code in ("E300", "E301", "E302", "E303")
        status: Status = "declined" if declined else "failed"
        return Result(test, status, str(answer).splitlines()[0], made.fixed)
    if isinstance(answer, Exception):
        return Result(test, "failed", str(answer).splitlines()[0], made.fixed)
    (outputs,) = answer
    for number, (got, want) in enumerate(zip(outputs, test.outputs, strict=True)):
        wrong = _difference(got, np.asarray(want), test)
        if wrong:
            return Result(test, "failed", f"output {number}: {wrong}", made.fixed)
    return Result(test, "passed", "", made.fixed)


def _difference(got: Array, want: Array, test: NodeTest) -> str:
    rtol, atol = test.rtol, test.atol
    if test.operator == "NonMaxSuppression" and (got[len(want) :] == -1).all():
        got = got[: len(want)]  # compiled code returns the largest possible number of rows
    if _is_half(want):
        rounding = HALVES[want.dtype.name]
        want, rtol, atol = _widened(want), max(rtol, rounding), max(atol, rounding)
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    if got.dtype.kind != "f":
        wrong = got != want
    else:
        wrong = ~np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} differ, first {place}: "
        f"{got[place]} instead of {want[place]}"
    )


def supported(results: Sequence[Result]) -> list[str]:
    """The operators with at least one test that passed."""
    return sorted({r.test.operator for r in results if r.status == "passed"})


def table(results: Sequence[Result]) -> str:
    """A Markdown table with a row per operator."""
    rows = ["| operator | passed | declined | failed | why |", "|---|---:|---:|---:|---|"]
    by: dict[str, list[Result]] = {}
    for result in results:
        by.setdefault(result.test.operator, []).append(result)
    for operator, group in sorted(by.items()):
        counts = [sum(r.status == s for r in group) for s in ("passed", "declined", "failed")]
        reasons = dict.fromkeys(r.reason for r in group if r.status != "passed")
        shown = "; ".join(_cell(reason) for reason in list(reasons)[:4])
        more = f"; and {len(reasons) - 4} more" if len(reasons) > 4 else ""
        rows.append(f"| {operator} | {counts[0]} | {counts[1]} | {counts[2]} | {shown}{more} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return short.replace("|", "\\|").replace("\n", " ")


__all__ = ["NodeTest", "Result", "node_tests", "run_node_tests", "supported", "table"]
