"""Typed views: an object of an archive that a view reads is written as an equal object."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ell_samples import ALL_TEXTS, BINARY_LAYER, HISTORIC, OLD_ACTIVATION_LAYER, PREDICTOR

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.archive import archive_of, read_archive
from ellc.frontends.ell.json_text import parse_json_text
from ellc.frontends.ell.layer_objects import layer_object
from ellc.frontends.ell.layout import MemoryLayout, layout_object, read_layout
from ellc.frontends.ell.metadata import PropertyBag, metadata_object, read_metadata
from ellc.frontends.ell.ports import PortRange, PortReference, parse_port_reference
from ellc.frontends.ell.typenames import TypeName, parse_type_name
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.view import View
from ellc.frontends.problems import Problems
from ellc.ir.errors import EllcError


def view_of(value: ArchiveObject | str) -> View:
    if isinstance(value, str):
        parsed = parse_json_text(value.encode())
        assert isinstance(parsed, ArchiveObject)
        value = parsed
    return View(value, "x", Problems())


def test_property_bags() -> None:
    root = read_archive(PREDICTOR.encode()).root
    view = View(root, "", Problems())
    bag = read_metadata(view)
    assert metadata_object(bag) == root.get("metadata")
    assert list(bag.flat()) == [
        ('it\'s a "name"/x', "b\\s\n"),
        ("compileOptions.parallelize", "true"),
        ("compileOptions.depths", "1,2"),
    ]
    assert bag.get("none") is not None
    assert bag.text("missing", "default") == "default"
    plain = PropertyBag.of({"a": True, "b": 3, "c": 0.5, "d": "x"})
    again = read_metadata(
        view_of(ArchiveObject(None, None, (("metadata", metadata_object(plain)),)))
    )
    assert again == plain
    assert [v.type for _, v in again.entries] == ["bool", "int", "double", "std::string"]


def test_every_layer_of_a_predictor() -> None:
    root = read_archive(PREDICTOR.encode()).root
    model = root.get("model")
    assert isinstance(model, ArchiveObject)
    found = 0
    pending = [model]
    while pending:
        value = pending.pop()
        pending += [child for _, child in value.children()]
        if parse_type_name(value.type or "").base in ell.known_layers():
            layer = ell.read_layer(view_of(value))
            assert layer is not None
            assert layer_object(layer) == value
            found += 1
    assert found == 4


def test_a_binary_layer() -> None:
    view = view_of(BINARY_LAYER)
    layer = ell.read_layer(view)
    assert isinstance(layer, ell.BinaryConvolutionalLayer)
    assert layer.words.dtype == np.uint64
    assert layer.words.shape == (1, 1)
    assert layer_object(layer) == view.object


def test_the_activation_in_a_layer_type_of_2017() -> None:
    layer = ell.read_layer(view_of(OLD_ACTIVATION_LAYER))
    assert isinstance(layer, ell.ActivationLayer)
    assert layer.activation.kind is ell.ActivationKind.LEAKY_RELU
    assert layer.activation.leaky_factor == pytest.approx(0.01)
    modern = layer_object(layer)
    again = ell.read_layer(view_of(modern))
    assert isinstance(again, ell.ActivationLayer)
    assert again.activation.kind is layer.activation.kind
    assert again.activation.leaky_factor == layer.activation.leaky_factor


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('"bias": [1, 2]', "unknown layer type"),
        ('"_type": "BiasLayer<float>"', "outputShape"),
        (
            '"_type": "PoolingLayer<float,MedianPoolingFunction>", "outputShape": [1, 1, 1]',
            "unknown pooling",
        ),
        (
            '"_type": "ActivationLayer<float>", "outputShape": [1, 1, 1], '
            '"activation": {"_type": "SwishActivation<float>"}',
            "unknown activation",
        ),
        (
            '"_type": "BiasLayer<float>", "outputShape": [2, 2, 1], "outputPaddingSize": 2, '
            '"outputPaddingScheme": 0, "inputPaddingSize": 0, "inputPaddingScheme": 0, "bias": [1]',
            "smaller than the included padding",
        ),
        (
            '"_type": "ConvolutionalLayer<float>", "outputShape": [2, 2, 1], "weights_rows": 3, '
            '"weights_columns": 3, "weights_channels": 1000000000, "weights_values": [1, 2]',
            "expected 3x3x1000000000 numbers, found 2",
        ),
    ],
)
def test_damaged_layers(text: str, word: str) -> None:
    view = view_of("{" + text + "}")
    ell.read_layer(view)
    assert not view.sound
    assert any(word in line for line in view.problems.lines)


def test_layouts_of_every_era() -> None:
    modern = MemoryLayout.of((4, 5, 2), (1, 1, 0))
    assert read_layout(view_of(layout_object(modern))) == modern
    assert modern.increment == (14, 2, 1)
    old = (
        '{"_type": "PortMemoryLayout", "size": [4, 5, 2], "stride": [6, 7, 2], "offset": [1, 1, 0]}'
    )
    assert read_layout(view_of(old)) == modern
    planar = '{"_type": "MemoryLayout", "size": [2, 4, 5], "order": [2, 0, 1]}'
    assert read_layout(view_of(planar)).logical_size == (4, 5, 2)
    assert read_layout(view_of('{"size": []}')).elements == 1
    assert read_layout(view_of('{"size": [3], "extent": [8], "offset": [2]}')).after == (3,)


@pytest.mark.parametrize(
    "text",
    [
        '{"size": [4], "extent": [4], "offset": [1]}',
        '{"size": [4, 4], "order": [1, 1]}',
        '{"size": [4, 4], "extent": [4]}',
        '{"size": [1.5]}',
        '{"size": [-1]}',
        '{"size": "x"}',
        '{"size": [100000, 100000]}',
        '{"size": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}',
    ],
)
def test_damaged_layouts(text: str) -> None:
    view = view_of(text)
    read_layout(view)
    assert not view.sound


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("1003.output", [PortRange("1003")]),
        ("1012.output[0:2]", [PortRange("1012", "output", 0, 2)]),
        ("7.argVal[3]", [PortRange("7", "argVal", 3, 4)]),
        ("{}", []),
        ("{ }", []),
        (
            "{1.output[0:4], 3.output[2]}",
            [PortRange("1", "output", 0, 4), PortRange("3", "output", 2, 3)],
        ),
        ("a.b.output", [PortRange("a.b")]),
    ],
)
def test_port_references(text: str, ranges: list[PortRange]) -> None:
    found = parse_port_reference(text)
    assert found == PortReference(tuple(ranges))
    assert parse_port_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "output", "1.", ".output", "1.output[", "1.output[2:2]", "1.output[a]", "{1.output"],
)
def test_bad_port_references(text: str) -> None:
    with pytest.raises(ValueError, match=r"reference|form|selects"):
        parse_port_reference(text)


def test_type_names() -> None:
    assert parse_type_name("Map") == TypeName("Map")
    nested = parse_type_name("BinaryFunctionNode<float,ParametricReLUActivationFunction<float>>")
    assert nested.arguments == ("float", "ParametricReLUActivationFunction<float>")
    assert str(nested) == "BinaryFunctionNode<float,ParametricReLUActivationFunction<float>>"
    rng = random.Random(2)
    for _ in range(500):
        text = "".join(rng.choices("ab<>,: ", k=rng.randrange(12)))
        assert isinstance(str(parse_type_name(text)), str)


def test_a_whole_archive() -> None:
    archive = read_archive(HISTORIC.encode())
    nodes = archive.map.model.nodes
    assert [node.id for node in nodes] == ["1740", "1742", "1743", "1744"]
    assert str(nodes[2].inputs["input1"].reference) == "{1740.output[3], 1740.output[0:2]}"
    assert archive.map.input_ids == ("1740",)
    assert str(archive.map.outputs[0]) == "1744.output[0:3]"
    assert nodes[2].path == "model.nodes[2]"


def test_problems_of_an_archive_come_together() -> None:
    text = ALL_TEXTS["predictor"].replace('"id": "12"', '"id": "10"').replace("11.output", "output")
    with pytest.raises(EllcError) as caught:
        archive_of(view_of(text).object, "file.ell")
    assert caught.value.code == "E204"
    assert caught.value.where == "file.ell"
    assert len(caught.value.problems) == 2
    assert "model.nodes[2].input.input" in caught.value.report()
    assert "another node also has the id '10'" in caught.value.report()
