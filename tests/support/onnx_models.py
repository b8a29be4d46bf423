"""Make small ONNX models, read them with ellc, and compare with ONNX's reference evaluator."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ellc.frontends.onnx.read import read_onnx
from ellc.frontends.options import ImportOptions
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

Arrays = Mapping[str, Array]
NEWEST = 21
IR_VERSION = 9
_DEFAULT = ImportOptions()

node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays | Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    constants: Arrays | None = None,
    *,
    opset: int = NEWEST,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model; the arrays give the shapes and types of its inputs."""
    infos = [of_array(n, x) for n, x in inputs.items()] if isinstance(inputs, Mapping) else inputs
    graph = helper.make_graph(
        nodes,
        "graph",
        infos,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(x), n) for n, x in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(d, v) for d, v in (domains or {}).items()]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, functions=list(functions)
    )


def of_array(name: str, x: Array) -> onnx.ValueInfoProto:
    """An input with the shape and type of an array."""
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(x).dtype)
    return helper.make_tensor_value_info(name, kind, np.shape(x))


def read(proto: onnx.ModelProto, options: ImportOptions = _DEFAULT) -> Graph:
    """The graph that ellc reads from a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return read_onnx(path, options)


def read_as_written(proto: onnx.ModelProto) -> Graph:
    """The graph with one node per operator; QuantizeLinear and DequantizeLinear are not fused."""
    with patch("ellc.frontends.onnx.convert.joined", lambda nodes, *_: list(nodes)):
        return read(proto)


def computed(proto: onnx.ModelProto, inputs: Arrays) -> tuple[Array, ...]:
    """The results of the imported graph in the reference executor."""
    graph = read(proto)
    return evaluate(graph, tuple(inputs[p.name] for p in graph.inputs)).outputs


def expected(proto: onnx.ModelProto, inputs: Arrays) -> list[Array]:
    """The results of ONNX's reference evaluator."""
    with np.errstate(all="ignore"):
        return [np.asarray(y) for y in ReferenceEvaluator(proto).run(None, dict(inputs))]


def compare(
    proto: onnx.ModelProto, inputs: Arrays, *, rtol: float = 1e-5, atol: float = 1e-6
) -> Graph:
    """Assert that ellc and ONNX's evaluator give equal results; returns the imported graph."""
    graph = read(proto)
    got = evaluate(graph, tuple(inputs[p.name] for p in graph.inputs)).outputs
    for a, b in zip(got, expected(proto, inputs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    return graph


def floats(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
