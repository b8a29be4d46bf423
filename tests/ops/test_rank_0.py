"""Every operator with an operand or result of rank 0, compiled with arithmetic around it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from agreement import disagreement

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import ShapeError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Arrays, Case, all_ops
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import TensorType


def scalar_cases() -> Iterator[Case]:
    """A sample with rank 0 for each operator and types."""
    for name, op in all_ops().items():
        tried: set[tuple[object, ...]] = set()
        for case in op.samples(np.random.default_rng(zlib.crc32(name.encode()))):
            single = replace(case, inputs=tuple(_first(x) for x in case.inputs))
            found = next((c for c in (single, case) if _makes_rank_0(c)), None)
            if found is not None and not op.composite:
                kind = (*(t.dtype for t in found.types()), found.constants)
                if kind not in tried:
                    yield found
                tried.add(kind)


def _first(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1)[:1].reshape(()) if x.size else x


def _makes_rank_0(case: Case) -> bool:
    try:
        return all(t.rank == 0 for t in case.op.infer(*case.types()))
    except ShapeError:
        return False


def chain(case: Case, name: str) -> tuple[Graph, Arrays]:
    """The operator with affines before its float operands and after its results."""
    builder = GraphBuilder(name)
    operands, inputs = [], []
    for index, (array, type_) in enumerate(zip(case.inputs, case.types(), strict=True)):
        if index in case.constants:
            operands.append(builder.constant(array, type_.dtype))
            continue
        inputs.append(array)
        x = builder.input(f"x{index}", TensorType(type_.dtype, type_.shape))
        operands.append(_affine(builder, x, 0.5, 0.25))
    for index, result in enumerate(builder.add_multi(case.op, *operands)):
        builder.output(f"y{index}", _affine(builder, result, 1.5, 0.75))
    return builder.build(), tuple(inputs)


def _affine(builder: GraphBuilder, x: Ref, scale: float, shift: float) -> Ref:
    if not x.type.dtype.is_float:
        return x
    a, b = (builder.constant(np.array(v, x.type.dtype.numpy)) for v in (scale, shift))
    return builder.add(Add(), builder.add(Mul(), x, a), b)


@pytest.mark.slow
def test_rank_0_through_every_pass_and_kernel() -> None:
    trials, wanted, labels = [], [], []
    cases = list(scalar_cases())
    assert len({type(c.op) for c in cases}) > 60
    for number, case in enumerate(cases):
        graph, inputs = chain(case, f"scalar{number}")
        ready, _ = run_pipeline(graph)
        assert [t.rank for t in graph.output_types()] == [t.rank for t in ready.output_types()]
        trials.append(Trial(ready, (inputs,)))
        with np.errstate(all="ignore"):
            wanted.append(evaluate(graph, inputs).outputs)
        labels.append(str(case.op))
    wrong = []
    for label, want, found in zip(labels, wanted, run_trials(trials, resolve("host")), strict=True):
        if isinstance(found, Exception):
            wrong.append(f"{label}: {found}")
            continue
        why = [disagreement(g, np.asarray(w)) for g, w in zip(found[0], want, strict=True)]
        wrong += [f"{label}: {w}" for w in why if w]
    assert not wrong, "\n".join(wrong)
