"""Variables that are kept between calls, on streams, compared with TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tflite_files import T, TFLiteFile, options, saved, stream, with_graphs
from tflite_layer_cases import layer_cases

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array
from ellc.ir.verify import verify

STEPS = 10


class Streaming:
    """Builds a file with variables; `start` is the graph that its CALL_ONCE runs."""

    def __init__(self, *, starts: bool = True) -> None:
        self.main, self.start = TFLiteFile(), TFLiteFile()
        self.handles: dict[str, int] = {}
        self.branches: list[tuple[TFLiteFile, list[int], list[int]]] = []
        if starts:
            self.main.apply("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))

    def variable(self, name: str, initial: Array | None, container: str = "") -> None:
        """Add a variable with this name and initial value."""
        if initial is not None:
            handle = self._handle(self.start, name, container)
            self.start.apply("ASSIGN_VARIABLE", [handle, self.start.add(T.of(initial))], [])
        self.handles[container + name] = self._handle(self.main, name, container)

    @staticmethod
    def _handle(file: TFLiteFile, name: str, container: str) -> int:
        handle = file.add(T((), "resource"))
        chosen = options("VarHandleOptions", sharedName=name, container=container)
        file.apply("VAR_HANDLE", [], [handle], chosen)
        return handle

    def read(self, name: str, like: T) -> int:
        result = self.main.add(like)
        self.main.apply("READ_VARIABLE", [self.handles[name]], [result])
        return result

    def assign(self, name: str, value: int) -> None:
        self.main.apply("ASSIGN_VARIABLE", [self.handles[name], value], [])

    def add(self, a: int, b: int, like: T) -> int:
        total = self.main.add(like)
        self.main.apply("ADD", [a, b], [total], options("AddOptions"))
        return total

    def choose(self, condition: int, given: list[int], like: T, then: int = 2) -> int:
        """Add an IF with the graphs `then` and `then + 1`; returns its result."""
        result = self.main.add(like)
        chosen = options("IfOptions", thenSubgraphIndex=then, elseSubgraphIndex=then + 1)
        self.main.apply("IF", [condition, *given], [result], chosen)
        return result

    def data(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.main.inner = [(self.start, [], []), *self.branches]
        return self.main.data(inputs, outputs)


def ring(starts: bool = True, zero: int = -3) -> bytes:
    """An int8 window of 5 rows over a stream that has 2 rows per call, as in streaming layers."""

    def rows(count: int) -> T:
        return T((1, count, 4), "int8", scale=(0.05,), zero=(zero,))

    file = Streaming(starts=starts)
    file.variable("window", np.full((1, 5, 4), zero, np.int8) if starts else None)
    x, whole, kept = (file.main.add(rows(n)) for n in (2, 7, 5))
    held = file.read("window", rows(5))
    file.main.apply("CONCATENATION", [held, x], [whole], options("ConcatenationOptions", axis=1))
    ends = [file.main.add(T.of(np.array(n, np.int32))) for n in ((0, -5, 0), (0, 0, 0), (1, 1, 1))]
    chosen = options("StridedSliceOptions", beginMask=5, endMask=7)
    file.main.apply("STRIDED_SLICE", [whole, *ends], [kept], chosen)
    file.assign("window", kept)
    return file.data([x], [whole])


def orders() -> bytes:
    """Reads before, between and after assignments; exchanged old values; a constant."""
    file, like = Streaming(), T((1, 3))
    for index, name in enumerate("abcde"):
        file.variable(name, np.full((1, 3), index + 1, np.float32))
    file.variable("a", np.full((1, 3), -1, np.float32), "elsewhere")
    x = file.main.add(like)
    old = file.read("a", like)
    file.assign("a", x)
    between = file.read("a", like)
    file.assign("a", file.add(old, x, like))
    file.assign("b", old)
    first, second = file.read("c", like), file.read("d", like)
    file.assign("c", second)
    file.assign("d", first)
    fixed, other = file.read("e", like), file.read("elsewherea", like)
    file.assign("elsewherea", file.add(file.add(other, x, like), fixed, like))
    outputs = [old, between, file.read("a", like), file.read("b", like), first, fixed, other]
    return file.data([x], outputs)


def copies() -> bytes:
    """Next values that are not computed: an input, a constant, another variable."""
    file, like = Streaming(), T((1, 3))
    for index, name in enumerate("abc"):
        file.variable(name, np.full((1, 3), index, np.float32))
    x = file.main.add(like)
    held = [file.read(name, like) for name in "abc"]
    file.assign("a", x)
    file.assign("b", file.main.add(T.of(np.full((1, 3), 9, np.float32))))
    file.assign("c", held[0])
    return file.data([x], [file.add(value, x, like) for value in held])


def counter() -> bytes:
    """A running sum of integers with an initial value other than 0."""
    file, like = Streaming(), T((2,), "int32")
    file.variable("sum", np.array([7, -7], np.int32))
    x = file.main.add(like)
    total = file.add(file.read("sum", like), x, like)
    file.assign("sum", total)
    return file.data([x], [total])


def computed_start() -> bytes:
    """CALL_ONCE computes the initial value from constants, after assigning another value."""
    file, like = Streaming(), T((1, 3))
    file.variable("a", np.zeros((1, 3), np.float32))
    start = file.start
    parts = [start.add(T.of(np.array([row], np.float32))) for row in ([1, 2, 3], [4, 5, 7])]
    first = start.add(like)
    start.apply("MUL", parts, [first], options("MulOptions"))
    start.apply("ASSIGN_VARIABLE", [0, first], [])
    x = file.main.add(like)
    total = file.add(file.read("a", like), x, like)
    file.assign("a", total)
    return file.data([x], [total])


def decayed() -> bytes:
    """Next values that are int8 results of operators, one of them with another scale."""
    file = Streaming()
    like, other = (T((1, 4), "int8", scale=(s,), zero=(5,)) for s in (0.05, 0.09))
    for name in "ab":
        file.variable(name, np.full((1, 4), 5, np.int8))
    x = file.main.add(like)
    total = file.add(file.read("a", like), x, like)
    file.assign("a", total)
    wider = file.add(file.read("b", like), total, other)
    file.assign("b", wider)
    return file.data([x], [total, wider])


def half_read() -> bytes:
    """A variable that outputs need only through another variable, and an unused variable."""
    file, like = Streaming(), T((1, 2))
    for name in ("seen", "older", "unseen"):
        file.variable(name, np.ones((1, 2), np.float32))
    x = file.main.add(like)
    seen, older = file.read("seen", like), file.read("older", like)
    file.assign("seen", older)
    file.assign("older", file.add(older, x, like))
    file.assign("unseen", file.add(file.read("unseen", like), x, like))
    return file.data([x], [seen])


def branches(like: T) -> bytes:
    """Branches that read and assign variables, with given handles and with their own handles."""
    file = Streaming()
    for index, name in enumerate("abc"):
        file.variable(name, np.full(like.shape, index + 1, like.dtype))
    x = file.main.add(like)
    flags = [file.main.add(T((1,))) for _ in range(2)]
    zero = file.main.add(T.of(np.float32(0)))
    first, second = (file.main.add(T((1,), "bool")) for _ in flags)
    for flag, condition in zip(flags, (first, second), strict=True):
        file.main.apply("GREATER", [flag, zero], [condition])
    file.assign("b", x)

    def branch(*own: str) -> tuple[Streaming, list[int]]:
        made = Streaming(starts=False)
        given = [made.main.add(t) for t in (like, T((1,), "bool"), T((), "resource"))]
        made.handles["a"] = given[2]
        for name in own:
            made.variable(name, None)
        return made, given

    then, given = branch("b")
    total = then.add(then.read("a", like), given[0], like)
    then.assign("a", total)
    then.assign("b", then.add(then.read("b", like), total, like))
    file.branches = [(then.main, given, [total])]
    other, given = branch("c")
    other.assign("c", given[0])
    inner = other.choose(given[1], given, like, 4)
    total = other.add(inner, other.read("c", like), like)
    file.branches.append((other.main, given, [total]))
    for name in "ac":
        nested, given = branch("c", "b")
        total = nested.add(nested.read("b", like), nested.read("c", like), like)
        nested.assign(name, total)
        file.branches.append((nested.main, given, [given[0]]))
    result = file.choose(first, [x, second, file.handles["a"]], like)
    held = [file.read(name, like) for name in "abc"]
    return file.data([x, *flags], [result, *held])


FILES = {
    "ring": ring(),
    "orders": orders(),
    "copies": copies(),
    "counter": counter(),
    "computed start": computed_start(),
    "decayed": decayed(),
    "half read": half_read(),
    "branches": branches(T((1, 3))),
    "branches of integers": branches(T((2, 2), "int32")),
    "branches of bytes": branches(T((1, 4), "int8", scale=(0.05,), zero=(-3,))),
}


def steps_of(graph: Graph) -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(3)
    types = [graph.types[port.value] for port in graph.inputs]
    return [
        tuple(rng.integers(-100, 100, t.shape).astype(t.dtype.numpy) for t in types)
        for _ in range(STEPS)
    ]


def evaluated(graph: Graph, steps: Sequence[tuple[Array, ...]]) -> list[Sequence[Array]]:
    states, found = None, []
    for inputs in steps:
        result = evaluate(graph, inputs, states=states)
        states = result.states
        found.append(result.outputs)
    return found


def want_equal(found: Sequence[Sequence[Array]], wanted: Sequence[Sequence[Array]]) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        for actual, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(actual, other)


@pytest.mark.parametrize("name", FILES)
def test_variables_hold_what_the_runtime_keeps(name: str, tmp_path: Path) -> None:
    graph = read_tflite(saved(FILES[name], tmp_path))
    verify(graph)
    steps = steps_of(graph)
    want_equal(evaluated(graph, steps), stream(FILES[name], steps))


@pytest.mark.slow
def test_compiled_variables_hold_what_the_runtime_keeps(tmp_path: Path) -> None:
    trials, wanted = [], []
    for data in FILES.values():
        graph, _ = run_pipeline(read_tflite(saved(data, tmp_path)))
        steps = steps_of(graph)
        trials.append(Trial(graph, tuple(steps)))
        wanted.append(stream(data, steps))
    for found, want in zip(run_trials(trials, resolve("host")), wanted, strict=True):
        assert not isinstance(found, Exception), found
        want_equal(found, want)


def test_only_variables_that_outputs_need_are_states(tmp_path: Path) -> None:
    assert len(read_tflite(saved(half_read(), tmp_path)).states) == 2
    assert len(read_tflite(saved(orders(), tmp_path)).states) == 4  # a, c, d, elsewhere/a


def test_a_variable_without_a_first_value_starts_at_its_zero_point(tmp_path: Path) -> None:
    with_one, without = (read_tflite(saved(ring(s), tmp_path, str(s))) for s in (True, False))
    steps = steps_of(with_one)
    want_equal(evaluated(without, steps), evaluated(with_one, steps))


def test_a_reset_of_variable_tensors_is_that_of_the_runtime() -> None:
    """A reset restores initial values, so results after it must equal the first ones again."""
    cases = [case for case in layer_cases() if case.calls > 1]
    assert {"SVDF", "RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM"} <= {case.kind for case in cases}
    for case in cases:
        once = [case.inputs()] * case.calls
        first, again = np.split(np.array(stream(case.data(), once * 2, case.calls)), 2)
        np.testing.assert_array_equal(first, again, str(case))


def grows() -> bytes:
    file = Streaming()
    file.variable("a", np.ones((1, 3), np.float32))
    held, twice = file.read("a", T((1, 3))), file.main.add(T((1, 6)))
    x = file.main.add(T((1, 3)))
    file.main.apply("CONCATENATION", [held, x], [twice], options("ConcatenationOptions", axis=1))
    file.assign("a", twice)
    return file.data([x], [twice])


def starts_late() -> bytes:
    file, like = Streaming(starts=False), T((1, 3))
    file.variable("a", np.ones((1, 3), np.float32))
    x = file.main.add(like)
    file.assign("a", x)
    file.main.apply("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
    return file.data([x], [file.read("a", like)])


def strange_start() -> bytes:
    file, like = Streaming(), T((1, 3))
    file.variable("a", np.ones((1, 3), np.float32))
    odd = file.start.add(like)
    file.start.apply("CUSTOM:Odd", [], [odd])
    file.start.apply("ASSIGN_VARIABLE", [0, odd], [])
    return file.data([], [file.read("a", like)])


def no_handle() -> bytes:
    file = TFLiteFile()
    handle, result = file.add(T((), "resource")), file.add(T((1, 3)))
    file.apply("READ_VARIABLE", [handle], [result])
    return file.data([], [result])


def inside(kind: str, chosen: object) -> bytes:
    """An operator whose result nobody needs, but whose graph 2 assigns a variable."""
    file, like, number = Streaming(), T((1, 3)), T((), "int32")
    file.variable("a", np.ones((1, 3), np.float32))
    body = Streaming(starts=False)
    body.variable("a", None)
    body.assign("a", body.main.add(T.of(np.zeros((1, 3), np.float32))))
    trip = body.main.add(number)
    ends = file.main.add(T.of(np.int32(0))), file.main.add(number)
    file.main.apply(kind, [ends[0]], [ends[1]], chosen)
    x = file.main.add(like)
    total = file.add(file.read("a", like), x, like)
    file.main.inner = [(file.start, [], []), (body.main, [trip], [trip])]
    return file.main.data([x], [total])


def branches_of(then: T, other: T, *, once: bool = False) -> bytes:
    """An IF that selects one of two constants; the first branch may have a CALL_ONCE."""
    file, first, second = Streaming(), TFLiteFile(), TFLiteFile()
    if once:
        first.apply("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
    file.branches = [(first, [], [first.add(then)]), (second, [], [second.add(other)])]
    condition = file.main.add(T((), "bool"))
    return file.data([condition], [file.choose(condition, [], T((3,)))])


def given_to(kind: str, given: T, results: int = 1) -> bytes:
    """A variable `a`, and an operator with its handle or another operand; nothing reads `a`."""
    file, like = Streaming(), T((1, 3))
    file.variable("a", np.ones((1, 3), np.float32))
    operand = file.handles["a"] if given.dtype == "resource" else file.main.add(given)
    file.main.apply(kind, [operand], [file.main.add(like) for _ in range(results)])
    x = file.main.add(like)
    return file.data([x], [file.add(file.read("a", like), x, like)])


def weights_in_a_loop(initial: Array | None) -> bytes:
    """A loop that reads weights, as TensorFlow writes Keras layers without a signature."""
    file, like = Streaming(), T((1, 3))
    file.variable("kernel", initial)
    result = file.main.add(like)
    loop = options("WhileOptions", condSubgraphIndex=2, bodySubgraphIndex=3)
    x = file.main.add(like)
    handle = file.main.add(T((), "resource"))
    file.main.apply("WHILE", [file.handles["kernel"], x], [handle, result], loop)
    inner = [TFLiteFile() for _ in range(2)]
    given = [[each.add(T((), "resource")), each.add(like)] for each in inner]
    file.branches = [
        (inner[0], given[0], [inner[0].add(T((), "bool"))]),
        (inner[1], *given[1:] * 2),
    ]
    return file.data([x], [result])


def nothing_given() -> bytes:
    file = TFLiteFile()
    file.apply("ASSIGN_VARIABLE", [], [])
    x = file.add(T((1, 3)))
    return file.data([x], [x])


ONE_ROW = np.ones((1, 3), np.float32)
ONES = T.of(np.ones(3, np.float32))
RUNS_GRAPHS = with_graphs(2)


@pytest.mark.parametrize("kind", RUNS_GRAPHS)
def test_no_operator_whose_graph_assigns_a_variable_is_left_out(kind: str, tmp_path: Path) -> None:
    """This is tested for every operator of the schema that runs graphs."""
    assert {"CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE"} <= set(RUNS_GRAPHS)
    with pytest.raises(EllcError, match="E212") as caught:
        read_tflite(saved(inside(kind, RUNS_GRAPHS[kind]), tmp_path))
    said = (
        "it assigns variables",
        "its graph has inputs",
        "a condition i32[]",
        "its effects are unknown",
    )
    assert any(text in caught.value.report() for text in said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (branches_of(ONES, T.of(np.ones(4, "f4"))), "f32[3] in one branch and f32[4] in the other"),
        (branches_of(ONES, T.of(np.ones(3, "i4"))), "do not fit its operands or results"),
        (branches_of(ONES, ONES, once=True), "a branch contains CALL_ONCE"),
        (grows(), "changes from f32[1, 3] to f32[1, 6]"),
        (starts_late(), "is used earlier in the file"),
        (strange_start(), "CALL_ONCE: inside it: "),
        (given_to("CUSTOM:Odd", T((), "resource")), "t1 (CUSTOM:Odd): it may change its variable"),
        (given_to("HASHTABLE_SIZE", T((), "resource")), "it may change its variable"),
        (given_to("CUSTOM:Odd", T((1, 3), variable=True)), "it may change its variable"),
        (given_to("CUSTOM:Odd", T((1, 3)), results=0), "it has no result"),
        (given_to("ADD", T((1, 3)), results=0), "it has no result"),
        (no_handle(), "does not come from an earlier VAR_HANDLE"),
        (weights_in_a_loop(None), "(WHILE): takes the variable 't0', which has no initial value"),
        (weights_in_a_loop(ONE_ROW), "takes the variable 't0', which is read inside a loop only"),
        (nothing_given(), "an operand, a result or a graph is missing"),
    ],
)
def test_what_has_no_place_in_a_graph_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E212") as caught:
        read_tflite(saved(data, tmp_path))
    assert said in caught.value.report()
