"""Import all models in the data folder, compile them for two targets, run and compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from parts import is_whole, quick_part
from real_models import Arrays, RealModel, disagreement, macs, real_models

from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.driver import CompileOptions, compile_model
from ellc.execute import open_library
from ellc.ir.graph import Graph
from ellc.ir.op import Pointwise
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.shape import Transpose
from ellc.ir.pipeline import run_pipeline

MOST_EMULATED_MACS = 20_000_000
"""Larger models are compiled for other targets, but run only on this machine."""

EVERYWHERE = ("mnist-8", "kws_dscnn", "qonnx_TFC_1W1A", "resnet8_cifar10_int8", "qdq_tf2onnx")
"""The models that run on both emulated targets. They are small, and of every kind: ONNX and TFLite;
float, bytes with a scale per channel, pairs of quantisation and its inverse, binary."""

ONLY_COMPILED = (
    *("yunet", "ultraface", "deeplabv3", "v1_0.25_224_float", "v1_1.0_224_quant_features"),
    *("v2_quant_qlinear", "v2_1.0_224_ptq_perchannel", "v2_1.0_224_float"),
)
"""Models with more multiply-adds than `MOST_EMULATED_MACS`. Compiling them for another target takes
up to half a minute, and finds what smaller models and this machine find, too. So the suite leaves
them out there. Three 8-bit networks of such a size, which compile faster, stay."""


def model_params(models: Sequence[RealModel]) -> list[object]:
    # With an empty list, pytest would skip the test without a reason.
    return [
        pytest.param(model, id=str(model), marks=[pytest.mark.slow] if model.is_large else [])
        for model in models
    ] or [pytest.param(None, id="none")]


def on_each_target() -> list[object]:
    """Every model on this machine, and on one or both of the emulated targets."""
    parts: list[tuple[str, list[RealModel], list[pytest.MarkDecorator]]] = [
        ("host", real_models(), []),
        ("pi3", models_in_part(0), [pytest.mark.emulated("qemu-arm")]),
        ("pi3_64", models_in_part(2), [pytest.mark.emulated("qemu-aarch64")]),
    ]
    return [
        pytest.param(model, target, id=f"{model}-{target}", marks=marks)
        for target, models, marks in parts
        for model in models
    ] or [pytest.param(None, "host", id="none")]


def models_in_part(number: int) -> list[RealModel]:
    """A quarter of the models that run there, and those of every kind."""
    models = [m for m in real_models() if is_whole() or not is_one_of(m, ONLY_COMPILED)]
    return quick_part(models, number, 4, always=lambda m: is_one_of(m, EVERYWHERE))


def is_one_of(model: RealModel, names: Sequence[str]) -> bool:
    return any(name in model.path.name for name in names)


pytestmark = pytest.mark.needs_data
each_model = pytest.mark.parametrize("model", model_params(real_models()))


def check(
    model: RealModel, run: Callable[[Arrays], Arrays], samples: Iterator[tuple[Arrays, Arrays]]
) -> None:
    """Compare the results of `run` with the expected results, for every sample."""
    wrong = []
    for number, (inputs, want) in enumerate(samples):
        if said := disagreement(model, run(inputs), want):
            wrong.append(f"sample {number}: {said}")
    assert not wrong, "\n".join(wrong)


@each_model
def test_imported_graph_has_the_model_s_ports(model: RealModel) -> None:
    graph = model.graph()
    assert macs(graph) > MOST_EMULATED_MACS or not is_one_of(model, ONLY_COMPILED)
    inputs, want = next(model.samples())
    assert [(t.dtype.numpy, t.shape) for t in graph.input_types()] == [
        (x.dtype, x.shape) for x in inputs
    ]
    assert [(t.dtype.numpy, t.shape) for t in graph.output_types()] == [
        (y.dtype, y.shape) for y in want
    ]


@each_model
def test_reference_computes_the_model(model: RealModel) -> None:
    if macs(model.graph()) > MOST_EMULATED_MACS:
        pytest.skip("numpy takes long for it; the compiled model is compared")
    check(model, model.reference, model.samples())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "target"), on_each_target())
def test_compiled_model_agrees(model: RealModel, target: str, tmp_path: Path) -> None:
    graph = model.graph()
    options = CompileOptions(emit=("so", "obj"), threads=1, name="model")
    made = compile_model(graph, target, options, tmp_path / "out")
    assert made.library is not None
    if target == "host" or macs(graph) <= MOST_EMULATED_MACS:
        samples = list(model.computed_samples())
        library = open_library(made.library)
        check(model, lambda inputs: library.run(inputs)[0], iter(samples[:1]))
        made_in_junk = iter(library.run_in_junk([inputs for inputs, _ in samples]))
        check(model, lambda _: next(made_in_junk), iter(samples))


@each_model
def test_transposes_stand_at_ports_only(model: RealModel) -> None:
    ready, _ = run_pipeline(model.graph())
    ports = _values_at_ports(ready)
    inner = [
        node.source
        for node in ready.nodes
        if isinstance(node.op, Transpose) and ports.isdisjoint((node.inputs[0], node.output))
    ]
    assert not inner


def _values_at_ports(graph: Graph) -> set[str]:
    """Inputs and outputs, whose layout the file fixes, and values that only elementwise operators
    separate from them: it is cheaper to move bytes after a quantisation than floats before it."""
    found = {port.value for port in (*graph.inputs, *graph.outputs)}
    for node in graph.nodes:
        if isinstance(node.op, Pointwise) and node.inputs[0] in found:
            found.add(node.output)
    for node in reversed(graph.nodes):
        if isinstance(node.op, Pointwise) and node.output in found:
            found.add(node.inputs[0])
    return found


def test_products_of_signs_are_computed_on_bits() -> None:
    networks = [model for model in real_models() if "1W1A" in model.path.name]
    assert networks
    for model in networks:
        ready, _ = run_pipeline(model.graph())
        ops = [node.op.anchor if isinstance(node.op, Fused) else node.op for node in ready.nodes]
        assert any(isinstance(op, BinaryConv2D) for op in ops)
        assert not [op for op in ops if op.name in ("dense", "mat_mul", "conv2d")]


@pytest.mark.slow
def test_code_of_bytes_for_avx_512_stays_small(test_data: Path, tmp_path: Path) -> None:
    """Each depthwise layer of a face detector has separate code for every edge of its image. When
    every product of bytes took two instructions, the kernels exceeded this limit by 12 KB."""
    file = test_data / "models" / "nxp_yolo_face_detect_int8.tflite"
    target = resolve("custom", Overrides(triple="x86_64-unknown-linux-gnu", cpu="znver4"))
    made = compile_model(file, target, CompileOptions(emit=("obj",)), tmp_path)
    assert made.costs.flash_bytes is not None
    assert made.costs.flash_bytes <= 1.5 * file.stat().st_size + 100_000
