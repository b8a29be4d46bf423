"""`ellc compile --profile`: the C functions that return the time of each step."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_texts import TEXTS, network
from small_networks import convolution_network, inputs_of, reference_of

from ellc.cli import run
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.planning.planner import make_plan
from ellc.driver import CompileOptions, compile_model
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.recurrent import GRUCell
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, TensorType

ELL_CLIENT = """
#include <stdio.h>
#include "net_ell.h"

static float first[32], second[48], results[2][48];

int main(void)
{
    void *in[] = { first, second }, *out[] = { results[0], results[1] };
    int i;
    for (i = 0; i < 2; i++)
        net_Predict_dispatch(0, in, out);
    net_PrintModelProfilingInfo();
    net_PrintNodeProfilingInfo();
    net_PrintNodeTypeProfilingInfo();
    if (net_GetNodeInfo(-1) || net_GetNodeInfo(net_GetNumNodes()) || !net_GetNodeInfo(0)->nodeType)
        return 1;
    if (net_GetNodeTypePerformanceCounters(net_GetNumNodeTypes()))
        return 2;
    net_ResetNodeProfilingInfo();
    printf("%d %g\\n", (int)net_GetModelPerformanceCounters()->count,
           net_GetNodePerformanceCounters(0)->totalTime);
    return 0;
}
"""


class Counting:
    """An instance of a library with counters, used through its C functions."""

    def __init__(self, library: Path, name: str) -> None:
        loaded = ctypes.CDLL(str(library))

        def function(word: str, result: object, *parameters: object) -> ctypes._NamedFuncPointer:
            found = getattr(loaded, f"{name}_{word}")
            found.restype, found.argtypes = result, parameters
            return found

        pointer, number = ctypes.c_void_p, ctypes.c_int
        self.steps = function("profile_steps", number)
        self._layer = function("profile_layer", ctypes.c_char_p, number)
        self._kind = function("profile_kind", ctypes.c_char_p, number)
        self._calls = function("profile_calls", ctypes.c_uint64, pointer)
        self._ns = function("profile_ns", ctypes.c_uint64, pointer, number)
        self._reset = function("profile_reset", None, pointer)
        self._predict = function("predict_v", number, pointer, pointer, pointer)
        self._destroy = function("destroy", None, pointer)
        self._model = ctypes.create_string_buffer(256)
        size = function("arena_bytes", ctypes.c_size_t)()
        self._memory = np.full(size + 64, 0xA5, np.uint8)  # counters must not need zeroed memory
        arena = -(-self._memory.ctypes.data // 64) * 64
        init = function("init", number, pointer, pointer, ctypes.c_size_t)
        assert init(self._model, arena, size) == 0

    def call(self, inputs: tuple[Array, ...], *outputs: Array) -> None:
        ports = [(pointer * len(arrays))(*(a.ctypes.data for a in arrays))
                 for arrays in (inputs, outputs) for pointer in [ctypes.c_void_p]]  # fmt: skip
        assert self._predict(self._model, *ports) == 0

    def names(self) -> list[tuple[str, str]]:
        told = [(self._layer(n), self._kind(n)) for n in range(self.steps())]
        assert self._layer(-1) is None is self._kind(self.steps())
        return [(layer.decode(), kind.decode()) for layer, kind in told]

    def figures(self) -> tuple[int, list[int]]:
        assert self._ns(self._model, -1) == 0 == self._ns(self._model, self.steps())
        return self._calls(self._model), [self._ns(self._model, n) for n in range(self.steps())]

    def reset(self) -> None:
        self._reset(self._model)

    def end(self) -> None:
        self._destroy(self._model)
        assert self.figures()[0] == 0


def recurrent_network() -> Graph:
    """A GRU of 12 units on a sequence of 40 pairs."""
    rng = np.random.default_rng(0)
    body = GraphBuilder("body")
    state = body.input("state", TensorType(DType.F32, (2, 12)))
    x = body.input("x", TensorType(DType.F32, (2, 5)))
    shapes = ((36, 5), (36, 12), (36,))
    weights = [body.constant(rng.normal(size=s).astype(np.float32) / 4) for s in shapes]
    made = body.add(GRUCell(), x, state, *weights, weights[-1])
    body.output("new state", made)
    body.output("y", made)
    b = GraphBuilder("net")
    sequence = b.input("sequence", TensorType(DType.F32, (40, 2, 5)))
    loop = Loop(body.build(), 40, 1, (Walk(),), (Walk(),))
    start = b.constant(np.zeros((2, 12), np.float32))
    b.output("y", b.add_multi(loop, start, sequence)[-1])
    return b.build()


def counting(graph: Graph, folder: Path, threads: int) -> Counting:
    options = CompileOptions(emit=("so",), threads=threads, profile=True, name="net")
    made = compile_model(graph, "host", options, folder)
    assert made.library is not None
    return Counting(made.library, "net")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_calls_and_times_are_counted(threads: int, tmp_path: Path) -> None:
    graph = convolution_network()
    library = counting(graph, tmp_path, threads)
    assert library.figures() == (0, [0] * library.steps())
    scores = np.zeros(4 * 5 * 10, np.float32)
    for _ in range(3):
        library.call(inputs_of(graph), scores)
    calls, times = library.figures()
    assert calls == 3 and all(0 < ns < 10**10 for ns in times) and scores.any()
    named = [(layer, kind) for layer, kind in library.names() if kind != "border"]
    assert named == [("conv1+relu1", "conv2d"), ("pool1", "max_pool2d"), ("conv2", "conv2d")]
    library.reset()
    assert library.figures() == (0, [0] * library.steps())
    library.end()


@pytest.mark.slow
def test_a_loop_is_counted_in_all_its_trips(tmp_path: Path) -> None:
    graph = recurrent_network()
    library = counting(graph, tmp_path, 2)
    inputs, answer = inputs_of(graph), np.zeros(40 * 2 * 12, np.float32)
    library.call(inputs, answer)
    (expected,) = reference_of(graph, inputs)
    np.testing.assert_allclose(answer, expected.reshape(-1), rtol=1e-4, atol=1e-5)
    calls, times = library.figures()
    assert calls == 1 and all(times) and len(times) < 40  # one time per step, not per trip
    library.end()


@pytest.mark.slow
def test_functions_of_ell_print_times_of_a_network_with_any_names(tmp_path: Path) -> None:
    graph = network("".join(TEXTS), "node")
    options = CompileOptions(emit=("c", "ell"), threads=2, profile=True, name="net")
    names = {path.name for path in compile_model(graph, "host", options, tmp_path).files}
    assert {"net.c", "ellc_clock.c", "ellc_clock.h", "ellc_pool.c"} <= names
    (tmp_path / "main.c").write_text(ELL_CLIENT)
    words = ["cc", "-std=c99", "-O0", "-pthread", "-Wall", "-Wextra", "-Werror"]
    sources = ("main.c", "net.c", "net_ell.c", "ellc_clock.c", "ellc_pool.c")
    subprocess.run([*words, *sources, "-lm", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(tmp_path / "main", capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Model net [model]: ") and lines[0].endswith(", count 2")
    assert sum("[conv2d]: " in line and line.startswith("Node ") for line in lines) == 1
    assert lines[-1] == "0 0"


PYTHON_CLIENT = """
import net
import numpy as np

m = net.Model()
x = np.random.default_rng(0).normal(size=(9, 11, 3))
y = m.predict(x)
assert np.array_equal(m.predict(x), y)
steps = m.profile()
assert [(s.name, s.kind) for s in steps] == list(net.STEPS)
assert all(s.count == 2 and 0 < s.seconds < 10 for s in steps)
print([(s.name, s.kind) for s in steps if s.kind != "border"])
m.print_profile()
m.reset_profile()
assert not any(s.count or s.seconds for s in m.profile())
m.print_profile()

net.predict(x)
net.net_PrintModelProfilingInfo()
net.net_PrintNodeProfilingInfo()
net.net_PrintNodeTypeProfilingInfo()
net.net_ResetNodeProfilingInfo()
net.net_PrintModelProfilingInfo()
m.close()
"""


def test_functions_of_python(tmp_path: Path) -> None:
    options = CompileOptions(emit=("so", "py"), threads=2, profile=True, name="net")
    compile_model(convolution_network(), "host", options, tmp_path)
    words = [sys.executable, "-W", "error", "-c", PYTHON_CLIENT]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    layers = [("conv1+relu1", "conv2d"), ("pool1", "max_pool2d"), ("conv2", "conv2d")]
    assert lines[0] == str(layers)
    assert "mean of 2 calls" in lines and "mean of 0 calls" in lines
    assert sum(line.startswith("Node ") and line.endswith("ms, count 1") for line in lines) >= 3
    assert any(line.startswith("NodeType conv2d [conv2d]: ") for line in lines)
    assert lines[-1] == "Model net [model]: 0.000000 ms, count 0"


def test_without_the_option_nothing_is_there() -> None:
    graph, _ = run_pipeline(convolution_network())
    plan = make_plan(graph, resolve("pi3_64"), Options(), "net")
    plain, counted = (make_model(plan, "net", profile=profile) for profile in (False, True))
    texts = [header_text(m, "1") + source_text(m, "1") for m in (plain, counted)]
    for word in ("profile", "clock", "counters"):
        assert word not in texts[0] and word in texts[1]
    assert len(counted.exports) == len(plain.exports) + 6
    assert counted.arena_bytes == plain.arena_bytes + 8 * (1 + len(plan.steps))
    assert plain.hash != counted.hash and plain.abi != counted.abi


def test_a_target_without_a_clock_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(convolution_network("net"), tmp_path / "net.eir")
    words = ["compile", str(tmp_path / "net.eir"), "--target", "wasm", "--profile"]
    assert run([*words, "-o", str(tmp_path / "out")]) == 2
    assert "E315" in capsys.readouterr().err
    with pytest.raises(EllcError, match="no clock"):
        compile_model(convolution_network(), "wasm", CompileOptions(profile=True), tmp_path / "o")
