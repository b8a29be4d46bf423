"""Drawings of graphs: their content, whether texts fit into boxes, and the course of lines."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from random_graphs import random_graph

from ellc.drawing.boxes import Box, boxes, columns, fitted
from ellc.drawing.dot import dot
from ellc.drawing.layout import lay_out
from ellc.drawing.svg import drawing, svg
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.types import DType, TensorType

SVG = "{http://www.w3.org/2000/svg}"
LONG = ";".join(["MobilenetV2/expanded_conv_1/depthwise/BatchNorm/FusedBatchNormV3"] * 2)
WIDE_PX = 7.23  # of 12 px characters in DejaVu Sans Mono, the widest font that is named


def chain(name: str, length: int = 3, skip: int = 2) -> Graph:
    """A chain of ReLUs; every second one reads the sum of the last result and an earlier one."""
    b = GraphBuilder("chain")
    values = [b.input("picture", TensorType(DType.F32, (1, 128, 128, 64)))]
    for index in range(length):
        operand = values[-1]
        if index >= skip:
            operand = b.add(Add(), operand, values[-1 - skip], source=f"sum & <{index}>")
        values.append(b.add(Relu(), operand, source=name))
    b.output("result", values[-1])
    return b.build()


def graphs() -> list[Graph]:
    made = [random_graph(seed) for seed in range(12)]
    return [*made, *(chain(name) for name in ("relu", LONG, "漢字" * 40, "\x1b" * 30, ""))]


def test_dot_has_every_box_and_line() -> None:
    text = dot(chain("relu", 3, 1))
    assert text.count("label=") == 7 and text.count("->") == 8
    assert '"add\\n1x128x128x64 f32\\nsum & <1>"' in text


def test_shape_stands_before_the_name_and_is_whole() -> None:
    (root, *_) = [ElementTree.fromstring(svg(chain(LONG)))]
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts.count("1x128x128x64 f32") == 6
    names = [t for t in texts if t and t.startswith("Mobilenet")]
    assert len(names) == 3 and all("…" in name and name.endswith("NormV3") for name in names)
    assert "sum & <2>" in texts


@pytest.mark.parametrize("graph", graphs(), ids=lambda g: g.name)
def test_texts_fit_their_boxes(graph: Graph) -> None:
    root = ElementTree.fromstring(svg(graph))
    picture = float(root.attrib["width"])
    for group in root.iter(f"{SVG}g"):
        (rect, *_) = group.iter(f"{SVG}rect")
        left = float(rect.attrib["x"])
        right = left + float(rect.attrib["width"])
        assert right < picture
        for text in group.iter(f"{SVG}text"):
            start = float(text.attrib["x"])
            assert left < start and start + columns(text.text or "") * WIDE_PX < right


def test_a_note_has_room_beside_its_title() -> None:
    box = Box("t" * 80, "1 f32", "n", (), (), "node", "v1", "99.9 %", 0.5)
    root = ElementTree.fromstring(drawing([box], "x"))
    title, shape, name, note = root.iter(f"{SVG}text")
    end = float(title.attrib["x"]) + columns(title.text or "") * WIDE_PX
    assert note.text == "99.9 %"
    assert end < float(note.attrib["x"]) - columns(note.text) * WIDE_PX
    assert (shape.text, name.text) == ("1 f32", "n")
    (group,) = root.iter(f"{SVG}g")
    assert group.attrib["data-key"] == "v1"


@pytest.mark.parametrize("graph", graphs(), ids=lambda g: g.name)
def test_lines_cross_no_box_and_share_no_track(graph: Graph) -> None:
    every = boxes(graph)
    layout = lay_out(every)
    producers = {value: row for row, box in enumerate(every) for value in box.makes}
    wanted = {(producers[v], row, v) for row, box in enumerate(every) for v in box.reads}
    drawn = {(wire.start, row, wire.value) for wire in layout.wires for row in wire.consumers}
    for start, row, _ in wanted - drawn:
        assert row == start + 1 and row in layout.straight
    assert drawn <= wanted
    for i, one in enumerate(layout.wires):
        for other in layout.wires[:i]:
            if one.track == other.track:
                assert one.end <= other.start or other.end <= one.start


def test_lines_end_in_arrowheads() -> None:
    every = boxes(chain("relu", 9))
    root = ElementTree.fromstring(drawing(every, "x"))
    lines = [path for path in root.iter(f"{SVG}path") if "stroke" in path.attrib]
    assert len(lines) == sum(len(set(box.reads)) for box in every) == 24
    assert all(line.attrib["marker-end"] == "url(#arrowhead)" for line in lines)


def test_short_lines_lie_inside_long_ones() -> None:
    def box(name: str, *reads: str) -> Box:
        return Box(name, "", "", reads, (name,), "node")

    every = [box("a"), box("b", "a"), box("c", "b"), box("d", "c", "b"), box("e", "d", "a")]
    tracks = {wire.value: wire.track for wire in lay_out(every).wires}
    assert tracks == {"b": 0, "a": 1}


def test_fitted_keeps_both_ends() -> None:
    assert fitted("abcdefghij", 10) == "abcdefghij"
    assert fitted("abcdefghijk", 10) == "abc…fghijk"
    assert columns(fitted("漢字" * 20, 11)) <= 11
    assert fitted("abc", 0) == ""


def test_layout_of_a_long_chain_is_quick() -> None:
    every = [Box("", "", "", (f"{i - 1}", f"{i - 5}"), (f"{i}",), "node") for i in range(20_000)]
    assert lay_out(every).tracks == 5


def test_print_writes_the_picture(tmp_path: Path, ellc_command) -> None:
    from ellc.ir.container import save

    save(chain("relu"), tmp_path / "m.eir")
    assert ellc_command("print", "m.eir", "--format", "svg", "-o", "m.svg").returncode == 0
    assert (tmp_path / "m.svg").read_text(encoding="utf-8") == svg(chain("relu"))
