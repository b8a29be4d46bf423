"""`ellc inspect` and `ellc print` for graphs with figures that were computed by hand."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ellc.importing import Imported
from ellc.inspect import inspect
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.container import save
from ellc.ir.graph import Graph
from ellc.ir.op import Case, Op, all_ops
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.passes.canonicalise.loops import unrolled
from ellc.ir.text import parse
from ellc.ir.types import DType, Padding, TensorType

SAME = Padding.same(1)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv(b: GraphBuilder, x: Ref, filters: int, k: int, seed: int = 0, **attributes: object) -> Ref:
    op = Conv2D(**attributes)  # type: ignore[arg-type]
    w = b.constant(weights(filters, k, k, x.type.shape[3] // op.groups, seed=seed))
    return b.add(op, x, w, source=f"conv{seed}")


@pytest.fixture
def residual() -> Graph:
    """8x8x2 -> conv 3x3/2 -> (conv 3x3 dilated, itself) -> add -> depthwise 3x3."""
    b = GraphBuilder("residual")
    x = b.input("picture", TensorType(DType.F32, (1, 8, 8, 2)))
    first = conv(b, x, 4, 3, seed=1, stride=(2, 2), padding=SAME)
    second = conv(b, first, 4, 3, seed=2, padding=Padding.same(2), dilation=(2, 2))
    total = b.add(all_ops()["add"](), first, second, source="sum & <rest>")
    b.output("result", conv(b, total, 4, 3, seed=3, groups=4))
    return b.build()


def test_figures_of_every_layer(residual: Graph) -> None:
    first, second, add, depthwise = inspect(residual).layers
    assert first.operator == "conv2d 3x3/2"
    assert second.operator == "conv2d 3x3 dilation=2"
    assert depthwise.operator == "conv2d 3x3 groups=4"
    assert [x.parameters for x in (first, second, add, depthwise)] == [72, 144, 0, 36]
    assert [x.macs for x in (first, second, depthwise)] == [16 * 72, 16 * 144, 4 * 36]
    assert [x.output_shape for x in (first, depthwise)] == [(1, 4, 4, 4), (1, 2, 2, 4)]
    # Receptive field: 3; 3 + (5-1)*2 = 11; the sum has the larger one; 11 + (3-1)*2 = 15.
    assert [x.field for x in (first, second, add, depthwise)] == [
        (3, 3),
        (11, 11),
        (11, 11),
        (15, 15),
    ]
    assert {x.field_stride for x in (first, second, add, depthwise)} == {(2, 2)}
    # Live bytes: input 512 + 256; 256 + 256; 3 x 256; 256 + 64.
    assert [x.live_bytes for x in (first, second, add, depthwise)] == [768, 512, 768, 320]


def single(case: Case) -> Graph:
    """A network with a single operator, whose first operand is the input."""
    b = GraphBuilder("single")
    operands = [b.input("x", case.types()[0]), *map(b.constant, case.inputs[1:])]
    b.output("y", b.add_multi(case.op, *operands)[0])
    return b.build()


def rows_that_matter(case: Case) -> int:
    """The number of rows of the image on which the middle element of the result depends."""
    image, *others = case.inputs
    result = case.op.reference(*case.inputs)[0]
    middle = tuple(extent // 2 for extent in result.shape)
    found = []
    for row in range(image.shape[1]):
        other = image.copy()
        other[:, row] = np.roll(image[:, row], 1, axis=-1)[:, ::-1]
        changed = case.op.reference(other, *others)[0]
        if not np.array_equal(changed[middle], result[middle], equal_nan=True):
            found.append(row)
    return found[-1] - found[0] + 1 if found else 0


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_no_element_sees_more_than_its_field(cls: type[Op]) -> None:
    for case in islice(cls.samples(np.random.default_rng(3)), 4):
        types = case.types()
        plain = types and types[0].rank == 4 and DType.BIT not in {t.dtype for t in types}
        if not plain or 0 in case.constants or case.op.ranges(*types):
            continue
        if 0 in case.op.infer(*types)[0].shape or case.op.infer(*types)[0].rank == 0:
            continue
        (layer,) = inspect(single(case)).layers
        if layer.field is not None:
            assert rows_that_matter(case) <= layer.field[0], case.label


def test_totals(residual: Graph) -> None:
    report = inspect(residual)
    assert (report.parameters, report.parameter_bytes) == (252, 1008)
    assert report.macs == 16 * (72 + 144) + 4 * 36 + report.layers[2].macs
    assert report.peak_live_bytes == 768


def test_a_shared_constant_counts_once_in_the_totals() -> None:
    b = GraphBuilder("shared")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 2)))
    for _ in range(2):
        x = conv(b, x, 2, 1)
    b.output("y", x)
    report = inspect(b.build())
    assert [layer.parameters for layer in report.layers] == [4, 4]
    assert report.parameters == 4


def test_a_loop_counts_what_its_body_holds() -> None:
    """A loop has as many parameters as the unrolled loop; its shape is that of its operand."""
    body = GraphBuilder("body")
    h, x = (body.input(n, TensorType(DType.F32, (1, 4))) for n in "hx")
    new = body.add(all_ops()["dense"](), h, body.constant(weights(4, 4)))
    new = body.add(all_ops()["add"](), new, x)
    body.output("h", new)
    body.output("y", new)
    b = GraphBuilder("layer")
    operands = (
        b.input("h", TensorType(DType.F32, (1, 4))),
        b.input("x", TensorType(DType.F32, (3, 1, 4))),
    )
    b.output("y", b.add_multi(Loop(body.build(), 3, 1, (Walk(),), (Walk(),)), *operands)[1])
    graph = b.build()
    (layer,) = inspect(graph).layers
    assert (layer.parameters, layer.parameter_bytes, layer.output_shape) == (16, 64, (3, 1, 4))
    for form in (graph, unrolled(graph)):
        assert inspect(form).parameters == Imported(form, 0).parameters == 16


@pytest.mark.slow
def test_command_prints_table_and_json(residual: Graph, tmp_path: Path, ellc_command) -> None:
    save(residual, tmp_path / "m.eir")
    text = ellc_command("inspect", "m.eir")
    assert text.returncode == 0, text.stderr
    assert re.search(
        r"^ *1  conv2 +conv2d 3x3 dilation=2 +1x4x4x4 f32 +144 +2,304 ", text.stdout, re.M
    )
    assert "parameters 252 (1008 B)" in text.stdout
    document = json.loads(ellc_command("inspect", "m.eir", "--json").stdout)
    assert document["layers"][1]["field"] == [11, 11]
    assert document["inputs"] == [
        {"name": "picture", "type": "f32", "shape": [1, 8, 8, 2], "quantisation": None}
    ]


@pytest.mark.slow
def test_print_text_reads_back(residual: Graph, tmp_path: Path, ellc_command) -> None:
    save(residual, tmp_path / "m.eir")
    done = ellc_command("print", "m.eir")
    assert parse(done.stdout, residual.weights) == residual
    assert ellc_command("print", "m.eir", "-o", "m.txt").stdout == ""
    assert (tmp_path / "m.txt").read_text() == done.stdout
    lost = ellc_command("print", "m.eir", "-o", "no/such/folder/m.txt")
    assert lost.returncode == 2 and "error[E703]" in lost.stderr


@pytest.mark.parametrize("name", ["none.ell", "folder", "noise.bin"])
def test_what_is_no_model_is_reported(tmp_path: Path, ellc_command, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    done = ellc_command("inspect", name)
    assert done.returncode == 2
    assert done.stderr.startswith("error[") and name in done.stderr
