"""The generated NAME.py in a separate process without ellc, as on a board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from small_networks import convolution_network, inputs_of, reference_of, two_way_network

from ellc.driver import CompileOptions, compile_model
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.pointwise import Relu
from ellc.ir.types import DType, TensorType

OTHER_SHAPES = ((1, 3, 9, 11), (3, 9, 11), (27, 11), (1, 297))
"""Shapes with as many elements as (1, 9, 11, 3), refused since the order of axes is unknown."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("modules")
    for graph in (convolution_network(), two_way_network()):
        compile_model(graph, "host", CompileOptions(emit=("so", "py"), threads=3), made)
    compile_model(convolution_network("single"), "host", CompileOptions(threads=1), made)
    return made


def run(folder: Path, script: str, *arguments: str) -> str:
    """Run a script that can import the modules; with -I, it cannot import ellc and the tests."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\nimport numpy as np\n{script}"
    ran = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "single"])
def test_predict(folder: Path, name: str, tmp_path: Path) -> None:
    graph = convolution_network()
    inputs = inputs_of(graph)
    np.save(tmp_path / "x.npy", inputs[0])
    script = f"import {name}; np.save(sys.argv[2], {name}.Model().predict(np.load(sys.argv[1])))"
    run(folder, script, str(tmp_path / "x.npy"), str(tmp_path / "y.npy"))
    assert not disagreement(np.load(tmp_path / "y.npy"), reference_of(graph, inputs)[0])


def test_arrays_of_other_shape_and_type(folder: Path) -> None:
    script = """
import small
m = small.Model()
x = np.arange(9 * 11 * 3).reshape(1, 9, 11, 3)
y = m.predict(x.astype(np.float32))
for other in (x, x[0], x.reshape(-1).astype(np.float64), x.tolist(),
              np.asfortranarray(x.astype(np.float32)), np.repeat(x, 2, axis=3)[..., ::2]):
    assert np.array_equal(m.predict(other), y)
for wrong, error in (
    *((x.reshape(s), ValueError) for s in ((1, 3, 9, 11), (3, 9, 11), (27, 11), (1, 297))),
    (x[:, 1:], ValueError), (x.astype(np.complex64), TypeError)):
    try:
        m.predict(wrong)
    except error as said:
        print(said)
try:
    m.predict()
except TypeError as said:
    print(said)
"""
    said = run(folder, script).splitlines()
    assert said == [
        *(f"input 'image' needs shape (1, 9, 11, 3), not {shape}" for shape in OTHER_SHAPES),
        "input 'image' needs shape (1, 9, 11, 3), not (1, 8, 11, 3)",
        "input 'image' needs float32, not complex64",
        "predict takes 1 arrays, not 0",
    ]


def test_integers_are_taken_in_range_only(tmp_path: Path) -> None:
    b = GraphBuilder("whole")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.I8, (1, 3)))))
    compile_model(b.build(), "host", CompileOptions(emit=("so", "py")), tmp_path / "out")
    script = """
import whole
m = whole.Model()
for x in ([-128, 127, 3], [[1, 2, 3]], np.array([1, 2, 3], np.uint64), [True, False, True]):
    print(m.predict(x).tolist())
for x in ([128, 0, 0], [-129, 0, 0], [1.0, 2, 3], ["1", "2", "3"], [1j, 0, 0]):
    try:
        m.predict(x)
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
"""
    said = run(tmp_path / "out", script).splitlines()
    assert said[:4] == ["[[0, 127, 3]]", "[[1, 2, 3]]", "[[1, 2, 3]]", "[[1, 0, 1]]"]
    assert [line.split()[0] for line in said[4:]] == ["ValueError"] * 2 + ["TypeError"] * 3


def test_several_inputs_outputs_states_and_instances(folder: Path) -> None:
    script = """
import two
a, b = two.Model(), two.Model(threads=1)
print([y.tolist() for y in a.predict([1, 1, 1], [2, 0, 1])])
print([y.tolist() for y in a.predict([1, 1, 1], [2, 0, 1])])
print(b.predict([1, 1, 1], [2, 0, 1])[0].tolist())
a.reset()
print([y.tolist() for y in a.predict([1, 1, 1], [2, 0, 1])])
"""
    assert run(folder, script).splitlines() == [
        "[[2.0, 3.0, 4.0], [4.0, 0.0, 1.0]]",
        "[[3.0, 4.0, 5.0], [8.0, 0.0, 2.0]]",
        "[2.0, 3.0, 4.0]",
        "[[2.0, 3.0, 4.0], [4.0, 0.0, 1.0]]",
    ]


def test_threads_give_the_same_bits(folder: Path) -> None:
    script = """
import small, threading
x = np.random.default_rng(0).normal(size=(9, 11, 3))
y = small.Model(threads=1).predict(x)
for n in (2, 3, 4, 8):
    assert np.array_equal(small.Model(threads=n).predict(x), y)
m = small.Model()
def work():
    for _ in range(50):
        assert np.array_equal(m.predict(x), y)
crowd = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in crowd]
[t.join() for t in crowd]
for n in (0.5, 99):
    try:
        small.Model(threads=n)
    except (RuntimeError, TypeError) as error:
        print(type(error).__name__)
"""
    assert run(folder, script).splitlines() == ["TypeError", "RuntimeError"]


def test_an_instance_survives_a_fork(folder: Path) -> None:
    script = """
import os, two
m = two.Model(threads=3)
m.predict([1, 1, 1], [0, 0, 0])
if os.fork() == 0:
    ok = m.predict([1, 1, 1], [0, 0, 0])[0].tolist() == [3, 4, 5]
    os._exit(0 if ok else 1)
print(os.wait()[1], m.predict([2, 1, 1], [0, 0, 0])[0].tolist())
"""
    assert run(folder, script) == "0 [4.0, 4.0, 5.0]"


def test_a_closed_instance(folder: Path) -> None:
    script = """
import small
m = small.Model(threads=2)
m.predict(np.zeros(297))
m.close()
m.close()
try:
    m.predict(np.zeros(297))
except RuntimeError as error:
    print(error)
"""
    assert run(folder, script) == "small: the instance is closed"


def test_names_of_ell(folder: Path) -> None:
    script = """
import small, two
w = small.ModelWrapper()
assert isinstance(w, small.SmallWrapper)
print(w.GetInputShape(), w.GetOutputShape(0).Size(), w.GetInputSize(), w.GetOutputSize(3))
shape = small.get_default_input_shape()
print(shape.rows, shape.columns, shape.channels, small.get_default_output_shape())
x = small.FloatVector(np.arange(297))
y = w.Predict(x)
print(type(y).__name__, len(y), small.FloatVector(3).tolist(), small.DoubleVector([1, 2]).dtype)
assert np.array_equal(small.predict(x), y) and type(small.predict(x)) is np.ndarray
small.reset()
print(small.input_size, small.output_size, w.IsSteppable(), repr(w.GetMetadata("labels")))
print(repr(small.get_metadata("x")), ascii(small.METADATA["é"]))
sums, products = two.FloatVector(3), two.FloatVector(3)
two.TwoWrapper().Predict([1, 1, 1], [1, 1, 1], sums, products)
print(sums.tolist(), products.tolist(), len(two.predict([1, 1, 1], [1, 1, 1])))
"""
    assert run(folder, script).splitlines() == [
        "TensorShape(9, 11, 3) 200 297 0",
        "9 11 3 TensorShape(4, 5, 10)",
        "FloatVector 200 [0.0, 0.0, 0.0] float64",
        "297 200 False 'cat\\n\"dog\"'",
        "'' '\\\\'",
        "[2.0, 3.0, 4.0] [1.0, 1.0, 1.0] 2",
    ]


def test_a_library_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_bytes((folder / "small.py").read_bytes())
    options = CompileOptions(emit=("so",), threads=1)
    compile_model(convolution_network(), "host", options, tmp_path)
    script = """
try:
    import small
except ImportError as error:
    print(error)
"""
    said = run(tmp_path, script)
    assert said.startswith("small.py and libsmall.so are not from the same run of ellc: ")


def test_module_is_python_3_7(folder: Path) -> None:
    import ast

    ast.parse((folder / "small.py").read_text(encoding="utf-8"), feature_version=(3, 7))
