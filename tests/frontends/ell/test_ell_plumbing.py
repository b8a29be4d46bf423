"""Nodes that move data, old variants of the format, names and metadata, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from ell_nodes import constant, link, node, numbers, planar, read, run, source
from ell_oracle import graph_map, layout
from ell_samples import BARE_MODEL, HISTORIC, PREDICTOR

from ellc.frontends.ell.layout import MemoryLayout, layout_object
from ellc.frontends.ell.options import EllOptions
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.writer import archive_bytes
from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.types import DType


def test_slices_and_concatenations_of_references() -> None:
    x = np.arange(4, dtype=np.float32) + 1
    graph = read_ell(HISTORIC.encode())
    (got,) = run(graph, x)
    np.testing.assert_allclose(got, np.array([4, 1, 2]) * np.array([2, 2.5, 0.1]), rtol=1e-6)
    assert "computed in float32" in graph.metadata["note.0"]


def test_doubles_may_stay_doubles() -> None:
    graph = read_ell(HISTORIC.encode(), EllOptions(double_is="double"))
    assert graph.input_types()[0].dtype is DType.F64
    assert not any(key.startswith("note.") for key in graph.metadata)


def test_bare_models_and_old_layouts() -> None:
    graph = read_ell(BARE_MODEL.encode())
    (got,) = run(graph, np.arange(6, dtype=np.float32))
    np.testing.assert_allclose(got, np.arange(6) * np.array([2, 3, 2, 3, 2, 3]))
    cut = read_ell(BARE_MODEL.encode(), EllOptions(outputs=("1.output[1:3]", "3.output")))
    got = run(cut, np.arange(6, dtype=np.float32))
    np.testing.assert_allclose(got[0], [1, 2])


def test_splices_slices_and_shapes() -> None:
    x = numbers(4, 3, 2)
    nodes = [
        source("1", 4, 3, 2),
        node(
            "SliceNode<float>",
            "2",
            link("input", "1.output", "2"),
            ("start", 1),
            ("count", 2),
            ("layout", layout(2, 3, 2)),
        ),
        node(
            "SpliceNode<float>",
            "3",
            ("numInputs", 2),
            link("input_0", "2.output", "3"),
            link("input_1", "1.output", "3"),
        ),
        node(
            "ConcatenationNode<float>",
            "4",
            link("input", "{1.output[0:3], 2.output}", "4"),
            ("shape", np.array([15, 1, 1])),
        ),
        node(
            "ReinterpretLayoutNode<float>",
            "5",
            link("input", "3.output", "5"),
            ("outputLayout", layout(36)),
        ),
        node("OutputNode<float>", "6", link("input", "3.output", "6"), ("layout", layout(6, 3, 2))),
    ]
    graph = read(nodes, ["2.output", "3.output", "4.output", "5.output", "6.output"])
    got = run(graph, x)
    joined = np.concatenate([x[1:3], x])
    np.testing.assert_array_equal(got[0][0], x[1:3])
    np.testing.assert_array_equal(got[1][0], joined)
    np.testing.assert_array_equal(got[2], np.concatenate([x.reshape(-1)[:3], x[1:3].reshape(-1)]))
    np.testing.assert_array_equal(got[3], joined.reshape(-1))
    np.testing.assert_array_equal(got[4][0], joined)


def test_reordering_transposes_and_pads() -> None:
    x = numbers(3, 4, 2)
    nodes = [
        source("1", 3, 4, 2),
        node(
            "ReorderDataNode<float>",
            "2",
            link("input", "1.output", "2"),
            ("inputLayout", layout(3, 4, 2)),
            ("outputLayout", planar(3, 4, 2, pad=1)),
            ("paddingValue", 7),
        ),
        node(
            "ReorderDataCodeNode<float>",
            "3",
            link("input", "2.output", "3"),
            ("inputLayout", planar(3, 4, 2, pad=1)),
            ("outputLayout", layout(3, 4, 2)),
            ("paddingValue", 0),
        ),
        # Padded planes are read as plain memory, and then cropped with another layout.
        node(
            "ReorderDataNode<float>",
            "4",
            link("input", "2.output", "4"),
            ("inputLayout", layout_object(MemoryLayout.of((8, 6), (1, 0)))),
            ("outputLayout", layout(8, 6)),
            ("paddingValue", 0),
        ),
    ]
    got = run(read(nodes, ["2.output", "3.output", "4.output"]), x)
    planes = np.pad(x.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)), constant_values=7)
    np.testing.assert_array_equal(got[0][0], planes)
    np.testing.assert_array_equal(got[1][0], x)
    np.testing.assert_array_equal(got[2], planes.reshape(10, 6)[1:9])


def test_casts_selectors_and_multiplexers() -> None:
    x = np.array([1.5, -2.5, 3.5], np.float32)
    nodes = [
        source("1", 3),
        source("2", 1, kind="bool"),
        source("3", 1, kind="int"),
        node("TypeCastNode<float,int>", "4", link("input", "1.output", "4")),
        node(
            "ValueSelectorNode<float>",
            "5",
            link("condition", "2.output", "5", "bool"),
            link("input1", "1.output", "5"),
            link("input2", "1.output[0]", "5"),
        ),
        node(
            "MultiplexerNode<float,int>",
            "6",
            link("elements", "1.output", "6"),
            link("selector", "3.output", "6", "int"),
        ),
        node(
            "MultiplexerNode<float,bool>",
            "7",
            link("elements", "{1.output[2], 1.output[1]}", "7"),
            link("selector", "2.output", "7", "bool"),
        ),
        node(
            "DemultiplexerNode<float,int>",
            "8",
            link("input", "1.output[2]", "8"),
            link("selector", "3.output", "8", "int"),
            ("size", 3),
            ("defaultValue", -1),
        ),
    ]
    graph = read(nodes, ["4.output", "5.output", "6.output", "7.output", "8.output"])
    for condition, index in ((True, 0), (False, 2)):
        got = run(graph, x, np.array([condition]), np.array([index], np.int32))
        np.testing.assert_array_equal(got[0], [1, -2, 3])
        np.testing.assert_array_equal(got[1], x if condition else np.full(3, x[0]))
        np.testing.assert_array_equal(got[2], [x[index]])
        np.testing.assert_array_equal(got[3], [x[1] if condition else x[2]])
        np.testing.assert_array_equal(got[4], [3.5 if i == index else -1 for i in range(3)])


def test_sources_and_sinks_are_inputs_and_outputs() -> None:
    clock = node("ClockNode", "2", link("input", "1.output", "2", "double"), ("interval", 50.0))
    output = ArchiveObject(
        "OutputPort<float>",
        "8",
        (("nodeId", "3"), ("name", "output"), ("type", 1), ("layout", layout(2, 2, 1))),
    )
    nodes = [
        source("1", 1, kind="double"),
        clock,
        node(
            "SourceNode<float>",
            "3",
            link("input", "2.output", "3", "double"),
            ("output", output),
            ("sourceFunctionName", "f"),
        ),
        node(
            "UnaryOperationNode<float>", "4", link("input", "3.output", "4"), ("operation", "abs")
        ),
        constant("5", np.array([True]), "bool"),
        node(
            "SinkNode<float>",
            "6",
            link("input", "4.output", "6"),
            link("inputTrigger", "5.output", "6", "bool"),
            ("sinkFunctionName", "g"),
        ),
        node(
            "DebugSinkNode<float>", "7", link("input", "6.output", "7"), ("sinkFunctionName", "h")
        ),
    ]
    graph = read(nodes, ["7.output"])
    assert [t.shape for t in graph.input_types()] == [(1, 2, 2, 1)]
    assert "compiled code has no callbacks" in graph.metadata["note.0"]
    x = numbers(2, 2, 1)
    np.testing.assert_array_equal(run(graph, x)[0][0], np.abs(x))


def test_a_flat_input_takes_the_shape_its_predictor_wants() -> None:
    start = PREDICTOR.index('"size": [4, 4, 1]')
    end = PREDICTOR.index("}", start)
    text = PREDICTOR[:start] + '"size": [16], "extent": [16], "offset": [0]' + PREDICTOR[end:]
    assert read_ell(text.encode()).input_types()[0].shape == (1, 4, 4, 1)


def test_the_predictor_of_the_format_page() -> None:
    graph = read_ell(PREDICTOR.encode())
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    (got,) = run(graph, x)
    padded = np.pad(x, 1)
    sums = sum(padded[i : i + 4, j : j + 4] for i in range(3) for j in range(3))
    np.testing.assert_allclose(got[0, :, :, 0], x + 0.5)
    np.testing.assert_allclose(got[0, :, :, 1], np.maximum(sums - 3, 0))
    assert graph.metadata["compileOptions.parallelize"] == "true"
    assert graph.metadata['it\'s a "name"/x'] == "b\\s\n"


def test_names_and_metadata_of_nodes() -> None:
    bag = ArchiveObject(
        "PropertyBag",
        "0",
        (
            (
                "data",
                tuple(
                    ArchiveObject(
                        "PropertyBag::KeyValue",
                        "0",
                        (
                            ("k", key),
                            (
                                "v",
                                ArchiveObject(
                                    "Variant", "0", (("type", "std::string"), ("value", value))
                                ),
                            ),
                        ),
                    )
                    for key, value in (
                        ("name", "camera"),
                        ("model.input.expectedColorChannelOrder", "rgb"),
                    )
                ),
            ),
        ),
    )
    first = node("InputNode<float>", "1", ("metadata", bag), ("layout", layout(2)))
    graph = read([first, node("SumNode<float>", "2", link("input", "1.output", "2"))], ["2.output"])
    assert graph.inputs[0].name == "camera"
    assert graph.outputs[0].name == "out0"
    assert graph.metadata == {
        "node.1.name": "camera",
        "model.input.expectedColorChannelOrder": "rgb",
    }


def test_all_unsupported_nodes_are_listed_with_a_next_step() -> None:
    nodes = [
        source("1", 8),
        node("HammingWindowNode<float>", "2", link("input", "1.output", "2")),
        node("FFTNode<float>", "3", link("input", "2.output", "3")),
        node("LinearPredictorNode<float>", "4", link("input", "3.output", "4")),
        node("NoSuchNode", "5", link("input", "4.output", "5")),
        node("DCTNode<float>", "6", link("input", "1.output", "6")),
    ]
    with pytest.raises(EllcError) as caught:
        read(nodes, ["5.output"])
    error = caught.value
    assert error.code == "E205"
    assert [line.split(":")[0] for line in error.problems] == [
        f"model.nodes[{i}]" for i in (1, 2, 3, 4)
    ]
    assert "node '3' of type FFTNode<float>: signal processing" in error.report()
    assert "classical predictors" in error.report()
    assert "outputs" in error.hint
    assert read(nodes, ["1.output"]).nodes == ()


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            [node("SumNode<float>", "2", link("input", "7.output", "2"))],
            "is not an output of an earlier node",
        ),
        (
            [node("SumNode<float>", "2", link("input", "1.output[3:9]", "2"))],
            "goes beyond the port, whose extent is 4",
        ),
        ([node("SumNode<float>", "2", link("input", "{}", "2"))], "not connected"),
        ([node("SumNode<float>", "2")], "no input port"),
        (
            [node("SumNode<float>", "2", link("input", "2.output", "2"))],
            "is not an output of an earlier node",
        ),
        (
            [
                node(
                    "UnaryOperationNode<float>",
                    "2",
                    link("input", "1.output", "2"),
                    ("operation", "frobnicate"),
                )
            ],
            "frobnicate",
        ),
        (
            [
                node(
                    "DelayNode<float>",
                    "2",
                    link("input", "1.output", "2"),
                    ("windowSize", 2**31 - 1),
                )
            ],
            "more than",
        ),
        (
            [
                node(
                    "ReinterpretLayoutNode<float>",
                    "2",
                    link("input", "1.output", "2"),
                    ("outputLayout", layout(5)),
                )
            ],
            "has the extent 4, but the layout needs 5",
        ),
        (
            [
                node(
                    "SliceNode<float>",
                    "2",
                    link("input", "1.output", "2"),
                    ("start", 3),
                    ("count", 2),
                )
            ],
            "3 + 2 is more than the extent 4",
        ),
    ],
)
def test_damaged_nodes(nodes: list[ArchiveObject], words: str) -> None:
    with pytest.raises(EllcError) as caught:
        read(
            [source("1", 4), *nodes],
            ["2.output"],
            limits=Limits(tensor_elements=1000, filled_elements=1000),
        )
    assert caught.value.code == "E204"
    assert words in caught.value.report()


def test_outputs_that_name_nothing() -> None:
    for reference, words in (
        ("{}", "empty"),
        ("7.output", "not an output"),
        ("1.output[3:9]", "4"),
    ):
        with pytest.raises(EllcError, match=words):
            read([source("1", 4)], [reference])
    with pytest.raises(EllcError, match="not of the form"):
        read_ell(BARE_MODEL.encode(), EllOptions(outputs=("nonsense",)))


def test_inputs_that_do_not_exist() -> None:
    data = archive_bytes(graph_map([source("1", 4)], ["1", "9"], ["1.output"]))
    with pytest.raises(EllcError, match="there is no node '9'"):
        read_ell(data)


def test_unary_operations_see_the_border() -> None:
    x = numbers(2, 2, 1)
    nodes = [
        source("1", 2, 2, 1),
        node(
            "ReorderDataNode<float>",
            "2",
            link("input", "1.output", "2"),
            ("inputLayout", layout(2, 2, 1)),
            ("outputLayout", layout(2, 2, 1, padding=(1, 1, 0))),
            ("paddingValue", -2),
        ),
        node(
            "UnaryOperationNode<float>", "3", link("input", "2.output", "3"), ("operation", "abs")
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), x)
    want = np.pad(np.abs(x), ((1, 1), (1, 1), (0, 0)), constant_values=2)
    np.testing.assert_array_equal(got[0], want)


def test_a_model_without_outputs() -> None:
    with pytest.raises(EllcError, match="no output node"):
        read([source("1", 4)], [])
