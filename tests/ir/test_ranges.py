"""Constants for which an operator is not defined are refused; the error names node and number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from operator_graphs import sample_graph, sample_of

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import run_trials
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import load, save
from ellc.ir.errors import EllcError
from ellc.ir.op import Case, all_ops
from ellc.ir.ops.functions import Neg
from ellc.ir.ops.loop import Loop
from ellc.ir.ops.shape import Gather
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType
from ellc.ir.verify import verify

MOST_ELEMENTS = 1000
X = TensorType(DType.F32, (4, 3))


def with_constant(case: Case, place: int, number: int, low: int, high: int) -> Case:
    """The case with a constant operand from low to high whose last element is `number`."""
    array = np.clip(case.inputs[place], low, high)
    array.reshape(-1)[-1] = number
    inputs = (*case.inputs[:place], array, *case.inputs[place + 1 :])
    return replace(case, inputs=inputs, constants=tuple({*case.constants, place}))


def cases_with_ranges() -> Iterator[tuple[Case, int, int, int]]:
    """The small cases of every operator with an operand that has a range."""
    for op in all_ops().values():
        for case in op.samples(np.random.default_rng(0)):
            if sum(x.size for x in case.inputs) <= MOST_ELEMENTS:
                for place, accepted in case.op.ranges(*case.types()).items():
                    yield case, place, accepted.low, accepted.high


def test_constants_are_refused_outside_of_what_an_operator_takes() -> None:
    named = set()
    for case, place, low, high in cases_with_ranges():
        info = np.iinfo(case.inputs[place].dtype)
        for number in (low, high):
            verify(sample_graph(with_constant(case, place, number, low, high), "inside")[0])
        beyond = {n for n in (low - 1, high + 1, info.min, info.max) if not low <= n <= high}
        for number in sorted(n for n in beyond if info.min <= n <= info.max):
            with pytest.raises(EllcError, match="E111") as caught:
                verify(
                    sample_graph(with_constant(case, place, number, low, high), "outside")[0],
                    "g.eir",
                )
            assert str(number) in caught.value.problems[0]
            assert caught.value.where == "g.eir"
        named.add(case.op.name)
    assert {"gather", "resample", "requantize", "quantize", "function_16", "fused"} <= named


def cases_at_the_ends() -> list[Case]:
    """For every operator and range, a case whose constant contains both ends."""
    found: dict[tuple[str, int, int, int], tuple[Case, Case]] = {}
    for case, place, low, high in cases_with_ranges():
        ends = (with_constant(case, place, number, low, high) for number in (low, high))
        found.setdefault((case.op.name, place, low, high), (next(ends), next(ends)))
    return [case for pair in found.values() for case in pair]


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["host", pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64"))]
)
def test_compiled_code_takes_constants_to_the_ends(target: str) -> None:
    samples = [sample_of(c, c.label, f"end{i}") for i, c in enumerate(cases_at_the_ends())]
    assert len(samples) > 50
    results = run_trials([sample.trial for sample in samples], resolve(target))
    for sample, result in zip(samples, results, strict=True):
        assert not isinstance(result, Exception), f"{sample.label}: {result}"
        for got, want in zip(result[0], sample.want, strict=True):
            difference = disagreement(got, np.asarray(want))
            assert not difference, f"{sample.label}: {difference}"


def test_an_index_in_a_file_says_which_layer(tmp_path: Path) -> None:
    b = GraphBuilder("g")
    x = b.input("x", X)
    b.output("y", b.add(Gather(0), x, b.constant(np.array([0, 4])), source="table"))
    save(b.build(), tmp_path / "g.eir")
    with pytest.raises(EllcError, match="E111") as caught:
        load(tmp_path / "g.eir")
    assert caught.value.where.endswith("g.eir")
    assert "(table)" in caught.value.problems[0]
    assert "an index is 4, not 0 to 3" in caught.value.problems[0]


def test_an_index_that_a_pass_computes_is_no_internal_error() -> None:
    b = GraphBuilder("g")
    x = b.input("x", X)
    index = b.add(Neg(), b.constant(np.array([2], np.int32)))
    b.output("y", b.add(Gather(0), x, index))
    with pytest.raises(EllcError, match="E111"):
        run_pipeline(b.build())


def test_an_index_that_a_loop_hands_to_its_body() -> None:
    body = GraphBuilder("body")
    x, index = body.input("x", X), body.input("index", TensorType(DType.I32, (4,)))
    body.output("x", body.add(Gather(0), x, index))
    b = GraphBuilder("g")
    start = b.input("x", X)
    far = b.constant(np.array([0, 1, 2, 9], np.int32))
    b.output("y", b.add(Loop(body.build(), 2, 1), start, far))
    with pytest.raises(EllcError, match="E111"):
        verify(b.build())


def test_a_byte_that_is_no_boolean(tmp_path: Path) -> None:
    b = GraphBuilder("g")
    b.output("y", b.constant(np.array([True, False, True])))
    path = tmp_path / "g.eir"
    save(b.build(), path)
    content = path.read_bytes()
    at = content.index(b"\1\0\1", content.index(b"weights.bin"))
    path.write_bytes(content[:at] + b"\1\0\7" + content[at + 3 :])
    with pytest.raises(EllcError, match="E140") as caught:
        load(path)
    assert "byte 7" in caught.value.message
