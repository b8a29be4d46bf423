"""WHILE loops whose trips are known at import, compared with TensorFlow Lite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import T, TFLiteFile, options, reference, saved

from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.nested import all_graphs
from ellc.ir.ops.loop import Loop
from ellc.ir.ops.shape import Gather
from ellc.ir.pipeline import run_pipeline
from ellc.ir.verify import verify

STEPS = 5


def number(value: int) -> T:
    return T.of(np.array(value, np.int32))


def scalar() -> T:
    return T((), "int32")


def layer(limit: T | None, step: int = 1, condition: str = "LESS") -> bytes:
    """A loop `while i < limit: h = tanh(x[i] * scale + h); i += step` over x [STEPS, 3].

    Its operands are i, h, x, scale and the limit, which is a constant or an input of the model.
    """
    cond = TFLiteFile()
    ends = [cond.add(t) for t in (scalar(), T((1, 3)), T((STEPS, 1, 3)), T((1, 3)), scalar())]
    more = cond.add(T((), "bool"))
    cond.apply(condition, [ends[0], ends[4]], [more])
    body = TFLiteFile()
    i, h, x, scale, most = (
        body.add(t) for t in (scalar(), T((1, 3)), T((STEPS, 1, 3)), T((1, 3)), scalar())
    )
    following, row, product, total, new = (
        body.add(t) for t in (scalar(), T((1, 3)), T((1, 3)), T((1, 3)), T((1, 3)))
    )
    body.apply("ADD", [i, body.add(number(step))], [following], options("AddOptions"))
    body.apply("GATHER", [x, i], [row], options("GatherOptions"))
    body.apply("MUL", [row, scale], [product], options("MulOptions"))
    body.apply("ADD", [product, h], [total], options("AddOptions"))
    body.apply("TANH", [total], [new])
    main = TFLiteFile()
    x_in, scale_in = main.add(T((STEPS, 1, 3))), main.add(T((1, 3)))
    free = [x_in, scale_in]
    limit_in = main.add(limit or scalar())
    free += [] if limit else [limit_in]
    start, zeros = main.add(number(0)), main.add(T.of(np.zeros((1, 3), np.float32)))
    results = [main.add(t) for t in (scalar(), T((1, 3)), T((STEPS, 1, 3)), T((1, 3)), scalar())]
    chosen = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.apply("WHILE", [start, zeros, x_in, scale_in, limit_in], results, chosen)
    main.inner = [
        (cond, ends, [more]),
        (body, [i, h, x, scale, most], [following, new, x, scale, most]),
    ]
    return main.data(free, results[:2])


@pytest.mark.parametrize(("limit", "step"), [(STEPS, 1), (3, 1), (STEPS, 2), (1, 1), (0, 1)])
def test_a_loop_with_known_trips_is_what_the_runtime_computes(
    limit: int, step: int, tmp_path: Path
) -> None:
    data = layer(number(limit), step)
    graph = read_tflite(saved(data, tmp_path))
    verify(graph)
    trips = [n.op.trips for n in graph.nodes if isinstance(n.op, Loop)]
    assert trips == ([-(-limit // step)] if limit else [])
    rng = np.random.default_rng(0)
    inputs = tuple(rng.normal(size=s).astype(np.float32) for s in ((STEPS, 1, 3), (1, 3)))
    (wanted,) = reference(data, inputs, 1)
    ready, _ = run_pipeline(graph)
    picks = [n for g in all_graphs(ready) for n in g.nodes if isinstance(n.op, Gather)]
    assert len(picks) == (limit == 1)  # the loop walks along the rows that its counter picks
    for form in (graph, ready):
        for found, want in zip(evaluate(form, inputs).outputs, wanted, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (layer(None), "computes its condition"),
        (layer(number(0), condition="GREATER_EQUAL"), "more than 4096 trips"),
    ],
)
def test_trips_that_are_not_known_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(data, tmp_path))
    assert said in caught.value.report()


ROWS = 6


def filled(
    start: int,
    step: int,
    end: int,
    condition: str = "LESS",
    *,
    open_list: bool = False,
    gap: int = 1,
) -> bytes:
    """A loop `while i < end: h = tanh(x[i] + h); rows[i] = h; i += step`, as Keras writes lists.

    Its results are the rows [ROWS, 1, 3] and h. Before the loop, the rows are zeros or an input of
    the model; rows from i + `gap` on do not change.
    """
    rows, x, h = T((ROWS, 1, 3)), T((ROWS, 1, 3)), T((1, 3))
    cond, body, main = TFLiteFile(), TFLiteFile(), TFLiteFile()
    ends = [cond.add(t) for t in (scalar(), rows, h, x)]
    more = cond.add(T((), "bool"))
    cond.apply(condition, [ends[0], cond.add(number(end))], [more])
    i, old, state, sequence = (body.add(t) for t in (scalar(), rows, h, x))
    following, next_row, total, new = (body.add(t) for t in (scalar(), scalar(), h, h))
    row, picked = body.add(T((1, 1, 3))), body.add(h)
    body.apply("ADD", [i, body.add(number(step))], [following], options("AddOptions"))
    body.apply("ADD", [i, body.add(number(gap))], [next_row], options("AddOptions"))
    body.apply("GATHER", [sequence, i], [picked], options("GatherOptions"))
    body.apply("ADD", [picked, state], [total], options("AddOptions"))
    body.apply("TANH", [total], [new])

    def numbers(counter: int, *rest: int) -> int:
        """A vector made of the counter and two numbers."""
        first, whole = body.add(T((1,), "int32")), body.add(T((3,), "int32"))
        one, others = (body.add(T.of(np.array(v, np.int32))) for v in ([1], rest))
        body.apply("RESHAPE", [counter, one], [first], options("ReshapeOptions"))
        body.apply("CONCATENATION", [first, others], [whole], options("ConcatenationOptions"))
        return whole

    some = T((1, 1, 3), signature=(-1, 1, 3))  # for the runtime's number of rows
    before, after, made = (body.add(t) for t in (some, some, rows))
    zeros, every = (body.add(T.of(np.full(3, v, np.int32))) for v in (0, -1))
    body.apply("SLICE", [old, zeros, numbers(i, -1, -1)], [before], options("SliceOptions"))
    body.apply("SLICE", [old, numbers(next_row, 0, 0), every], [after], options("SliceOptions"))
    shape = body.add(T.of(np.array([1, 1, 3], np.int32)))
    body.apply("RESHAPE", [new, shape], [row], options("ReshapeOptions"))
    body.apply("CONCATENATION", [before, row, after], [made], options("ConcatenationOptions"))
    x_in, rows_in = main.add(x), main.add(rows if open_list else T.of(np.zeros((ROWS, 1, 3), "f4")))
    begin, first = main.add(number(start)), main.add(T.of(np.zeros((1, 3), np.float32)))
    results = [main.add(t) for t in (scalar(), rows, h, x)]
    chosen = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.apply("WHILE", [begin, rows_in, first, x_in], results, chosen)
    main.inner = [
        (cond, ends, [more]),
        (body, [i, old, state, sequence], [following, made, new, sequence]),
    ]
    return main.data([x_in, *([rows_in] if open_list else [])], results[1:3])


@pytest.mark.parametrize("start, end", [(0, ROWS), (0, 4), (2, ROWS), (1, 4), (3, 4)])
@pytest.mark.parametrize("open_list", [False, True])
def test_rows_of_a_list_are_a_sequence(
    start: int, end: int, open_list: bool, tmp_path: Path
) -> None:
    data = filled(start, 1, end, open_list=open_list)
    graph = read_tflite(saved(data, tmp_path))
    (loop,) = (n.op for n in graph.nodes if isinstance(n.op, Loop))
    assert (loop.trips, loop.carried, len(loop.outward)) == (end - start, 1, 1)
    rng = np.random.default_rng(0)
    inputs = tuple(rng.normal(size=t.shape).astype(np.float32) for t in graph.input_types())
    (wanted,) = reference(data, inputs, 1)
    for form in (graph, run_pipeline(graph)[0]):
        for found, want in zip(evaluate(form, inputs).outputs, wanted, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (filled(0, 2, ROWS), "does not write the rows of a list in order"),
        (filled(ROWS - 1, -1, -1, "GREATER"), "does not write the rows of a list in order"),
        (filled(0, 1, ROWS, gap=2), "writes one row of a list and also changes other rows"),
    ],
)
def test_rows_that_are_no_sequence_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(data, tmp_path))
    assert said in caught.value.report()


def test_a_graph_that_runs_itself_is_damage(tmp_path: Path) -> None:
    main, inside = TFLiteFile(), TFLiteFile()
    chosen = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=1)
    for file in (main, inside):
        ends = file.add(T((1,))), file.add(T((1,)))
        file.apply("WHILE", [ends[0]], [ends[1]], chosen)
    main.inner = [(inside, [0], [1])]
    with pytest.raises(EllcError, match="E210"):
        read_tflite(saved(main.data([0], [1]), tmp_path))
