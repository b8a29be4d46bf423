"""`ellc run` and `ellc bench` of models and libraries, on this machine and in an emulator."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parts import is_whole
from PIL import Image
from small_model_files import small_tflite
from small_networks import convolution_network

from ellc.check.calls import plausible_inputs
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.commands.bench import noise, summary
from ellc.driver import CompileOptions, compile_model
from ellc.execute import (
    Library,
    Network,
    _from_memory,
    _memory_bytes,
    _to_memory,
    open_library,
)
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, Padding, TensorType

TARGETS = [
    "host",
    *(pytest.param(name, marks=pytest.mark.emulated) for name in ("pi0", "pi3", "pi3_64")),
]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) / 8


@pytest.fixture
def graph() -> Graph:
    """A network that computes scores of five classes from 8 x 8 RGB pixels from 0 to 1."""
    b = GraphBuilder("little")
    x = b.input("picture", TensorType(DType.F32, (1, 8, 8, 3)))
    y = b.add(Conv2D((2, 2), Padding.same(1)), x, b.constant(weights(16, 3, 3, 3)), source="first")
    y = b.add(Reshape((1, 256)), b.add(Relu(), y))
    b.output("scores", b.add(Dense(), y, b.constant(weights(5, 256)), source="last"))
    b.metadata(
        {
            "model.input.expectedColorChannelOrder": "rgb",
            "model.input.expectedPixelRangeHigh": "1",
            "labels": "ant\nbee\ncat\ndog\neel",
            "note.0": "made by a test",
        }
    )
    return b.build()


@pytest.fixture
def folder(graph: Graph, tmp_path: Path) -> Path:
    """The folder in which commands run, with little.eir and picture.png."""
    save(graph, tmp_path / "little.eir")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path


def scores(text: str) -> list[tuple[int, float, str]]:
    """The printed rows of the five best classes."""
    rows = re.findall(r"^ *(\d+) +(-?[\d.e-]+)  (\w*)$", text, re.MULTILINE)
    return [(int(index), float(value), label) for index, value, label in rows]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_compiled_code_ranks_as_the_reference(folder: Path, ellc_command, target: str) -> None:
    wanted = ellc_command("run", "little.eir", "picture.png", "--reference")
    assert wanted.returncode == 0, wanted.stderr
    assert wanted.stderr == "note: made by a test\n"
    done = ellc_command("run", "little.eir", "picture.png", "--target", target)
    assert done.returncode == 0, done.stderr
    assert [row[::2] for row in scores(done.stdout)] == [row[::2] for row in scores(wanted.stdout)]
    assert len(scores(done.stdout)) == 5
    ours, theirs = ([row[1] for row in scores(d.stdout)] for d in (done, wanted))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_finished_library_runs_by_its_manifest(folder: Path, ellc_command, target: str) -> None:
    made = ellc_command("compile", "little.eir", "--target", target, "-o", "out", "--threads", "2")
    assert made.returncode == 0, made.stderr
    by_model = ellc_command("run", "little.eir", "picture.png", "-t", target, "--json")
    by_library = ellc_command("run", "out/liblittle.so", "picture.png", "--json")
    assert by_library.returncode == 0, by_library.stderr
    assert by_library.stdout == by_model.stdout
    top = json.loads(by_library.stdout)[0]["top"]
    assert {entry["label"] for entry in top} == {"ant", "bee", "cat", "dog", "eel"}
    three = ellc_command("run", "out/liblittle.so", "picture.png", "--json", "--threads", "1")
    assert three.stdout == by_library.stdout


def two_numbers() -> Graph:
    """Another network with the same name."""
    b = GraphBuilder("little")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (2,)))))
    return b.build()


@pytest.mark.slow
@pytest.mark.emulated("qemu-arm")
@pytest.mark.parametrize("threads", [0, 3] if is_whole() else [0])
def test_without_a_foreign_c_library_the_object_runs(
    folder: Path, ellc_command, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    words = ("--target", "pi3", "-o", "out", "--threads", str(max(1, threads)))
    ellc_command("compile", "little.eir", *words)
    library = open_library(folder / "out" / "liblittle.so")
    inputs = noise(library.network)
    (wanted,), _ = library.run(inputs)
    monkeypatch.setattr("ellc.codegen.toolchain.system_root._ROOTS", {})
    (given,), _ = library.run(inputs, threads=threads)
    assert np.array_equal(given, wanted)
    other = compile_model(two_numbers(), "pi3", CompileOptions(emit=("obj",)), folder / "other")
    shutil.copy(other.folder / "little.o", folder / "out")
    with pytest.raises(EllcError, match="another interface") as caught:
        library.run(inputs, threads=threads)
    assert caught.value.code == "E705"
    (folder / "out" / "little.o").unlink()
    with pytest.raises(EllcError) as caught:
        open_library(library.path).run(inputs)
    assert caught.value.code == "E620"


@pytest.mark.slow
def test_results_that_depend_on_what_memory_held_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = convolution_network()
    calls = [plausible_inputs(network, seed) for seed in range(2)]
    target, options = resolve("host"), CompileOptions(emit=("so", "obj"), threads=1)

    def compiled(folder: str) -> Library:
        made = compile_model(network, target, options, tmp_path / folder)
        assert made.library is not None
        return open_library(made.library)

    right = compiled("right")
    for inputs, got in zip(calls, right.run_in_junk(calls), strict=True):
        for a, b in zip(got, right.run(inputs)[0], strict=True):
            assert np.array_equal(a, b)

    def incomplete(*args: Any) -> Plan:
        plan = make_plan(*args)
        return replace(plan, steps=plan.steps[1:])

    monkeypatch.setattr("ellc.codegen.planning.ram_limit.make_plan", incomplete)
    with pytest.raises(InternalError, match="what memory held"):
        compiled("wrong").run_in_junk(calls)


@pytest.mark.slow
def test_flags_override_what_the_metadata_says(folder: Path, ellc_command) -> None:
    run = ("run", "little.eir", "picture.png", "--reference", "--json")
    base = ellc_command(*run).stdout
    same = ellc_command(*run, "--color", "rgb", "--range", "0,1").stdout
    other = ellc_command(*run, "--color", "bgr").stdout
    assert same == base != other


def test_an_array_labels_and_a_saved_result(folder: Path, ellc_command) -> None:
    np.save(folder / "x.npy", np.linspace(0, 1, 192))
    (folder / "labels.txt").write_text("A\nB\nC\nD\nE\n")
    options = ("--labels", "labels.txt", "--top", "2", "-o", "y.npy")
    done = ellc_command("run", "little.eir", "x.npy", "--reference", *options)
    assert done.returncode == 0, done.stderr
    saved = np.load(folder / "y.npy")
    assert saved.shape == (1, 5) and saved.dtype == np.float32
    best = np.argsort(-saved[0])[:2]
    assert [(i, label) for i, _, label in scores(done.stdout)] == [(i, "ABCDE"[i]) for i in best]


@pytest.mark.slow
def test_several_inputs_and_results_that_are_no_list(tmp_path: Path, ellc_command) -> None:
    b = GraphBuilder("sum")
    x, y = (b.input(name, TensorType(DType.F32, (2, 2))) for name in "xy")
    b.output("total", b.add(Add(), x, y))
    save(b.build(), tmp_path / "sum.eir")
    for name in "xy":
        np.save(tmp_path / f"{name}.npy", np.array([[1, 2], [3, 5]]))
    done = ellc_command("run", "sum.eir", "x.npy", "y.npy", "--reference")
    assert done.stdout == "total: f32 2x2, from 2 to 10, mean 5.5\n"
    lost = ellc_command("run", "sum.eir", "x.npy", "--reference")
    assert (
        lost.returncode == 2 and "input files given: 1, but the model takes 2: x, y" in lost.stderr
    )
    bad = ellc_command("run", "sum.eir", "a.npy", "b.npy", "--reference")
    assert bad.returncode == 2
    assert "a.npy: no such file" in bad.stderr and "b.npy: no such file" in bad.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "none.so", "picture.png"], "none.so: no such file"),
        (["run", "alone.so", "picture.png"], "alone.json"),
        (["run", "alone.so", "picture.png", "--reference"], "this is a library"),
        (["run", "little.eir", "picture.png", "-t", "mac"], "cannot be run on this machine"),
        (["run", "little.eir", "picture.png", "-t", "pi33"], "did you mean pi3"),
        (["run", "little.eir", "picture.png", "-o", "no/y.npy", "--reference"], "no/y.npy"),
        (["bench", "none.eir"], "none.eir"),
    ],
)
def test_what_cannot_be_run_is_one_report(folder: Path, ellc_command, args, said) -> None:
    (folder / "alone.so").write_bytes(b"no library")
    done = ellc_command(*args)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "error[E" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_bench_prints_median_and_spread(folder: Path, ellc_command) -> None:
    done = ellc_command("bench", "little.eir", "--seconds", "0.05", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    times = json.loads(done.stdout)
    assert times["calls"] >= 3
    ordered = ("fastest_ms", "p10_ms", "median_ms", "p90_ms")
    values = [times[key] for key in ordered]
    assert values == sorted(values) and values[0] > 0
    text = ellc_command("bench", "little.eir", "--seconds", "0.05").stdout
    assert re.match(r"little on host: median \d+\.\d{3} ms of [\d,]+ calls\n", text)


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
def test_bench_refuses_what_only_an_emulator_can_run(folder: Path, ellc_command) -> None:
    ellc_command("compile", "little.eir", "--target", "pi3_64", "-o", "out")
    done = ellc_command("bench", "out/liblittle.so")
    assert done.returncode == 2 and "it can only be timed on the device" in done.stderr


def test_bench_figures() -> None:
    network = Network("n", (), (), {}, macs=3000)
    latency = summary(network, "host", (1000, 2000, 3000, 4000, 5000))
    assert (latency.median_ms, latency.fastest_ms) == (0.003, 0.001)
    assert latency.gmacs_per_second == 1.0


@pytest.mark.parametrize("dtype", [DType.F32, DType.I8, DType.U16, DType.BOOL, DType.BIT])
@pytest.mark.parametrize("channels", [1, 32, 33, 70])
def test_arrays_survive_the_way_through_memory(dtype: DType, channels: int) -> None:
    type_ = TensorType(dtype, (1, 2, 3, channels))
    (array,) = noise(Network("n", (("x", type_),), (), {}, 0))
    data = _to_memory(array, type_)
    assert len(data) == _memory_bytes(type_)
    back = _from_memory(data, type_)
    assert back.dtype == array.dtype and np.array_equal(back, array)


@pytest.mark.slow
def test_bench_times_every_kernel(folder: Path, ellc_command) -> None:
    done = ellc_command("bench", "little.eir", "--layers", "--seconds", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [k["layers"][0] for k in document["kernels"]] == ["first", "last"]
    assert sum(k["share"] for k in document["kernels"]) == pytest.approx(1)
    assert all(0 < k["fastest_ms"] <= k["median_ms"] for k in document["kernels"])
    assert sum(k["macs"] for k in document["kernels"]) == 4 * 4 * 16 * 27 + 256 * 5
    assert document["calls"] >= 20 and document["peak_gflops"] > 0.1
    shown = ellc_command("bench", "little.eir", "--layers", "--seconds", "0.05")
    assert "of peak" in shown.stdout and "fma peak" in shown.stdout and "8-bit peak" in shown.stdout


@pytest.mark.slow
def test_layers_of_bytes_have_a_share_of_their_own_peak(tmp_path: Path, ellc_command) -> None:
    (tmp_path / "small.tflite").write_bytes(small_tflite())
    done = ellc_command("bench", "small.tflite", "--layers", "--seconds", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (layer, *_) = [k for k in document["kernels"] if k["macs"]]
    rate = 2 * layer["macs"] / layer["median_ms"] / 1e6
    assert layer["of_peak"] == pytest.approx(rate / document["byte_peak_gops"])
    assert document["byte_peak_gops"] > 0.1


@pytest.mark.slow
def test_bench_of_layers_needs_the_model_and_one_thread(folder: Path, ellc_command) -> None:
    ellc_command("compile", "little.eir", "-o", "out")
    assert "E706" in ellc_command("bench", "out/liblittle.so", "--layers").stderr
    assert "E708" in ellc_command("bench", "little.eir", "--layers", "--threads", "2").stderr
