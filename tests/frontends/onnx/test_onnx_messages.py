"""Reports about operands that do not fit use names of the model, not of the graph IR."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_models import floats, model, node, read
from onnx_schema_cases import cases, specified_operators

from ellc.ir.errors import EllcError
from ellc.ir.op import all_ops

OURS = frozenset(f"{name}:" for name in all_ops())


def stretched(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """For each operand and axis, a model in which this operand is longer by 1 along this axis."""
    for place, given in enumerate(proto.graph.input):
        for axis in range(len(given.type.tensor_type.shape.dim)):
            made = onnx.ModelProto()
            made.CopyFrom(proto)
            made.graph.input[place].type.tensor_type.shape.dim[axis].dim_value += 1
            yield made
    for place, stored in enumerate(proto.graph.initializer):
        array = numpy_helper.to_array(stored)
        for axis in range(array.ndim):
            made = onnx.ModelProto()
            made.CopyFrom(proto)
            longer = np.concatenate([array, np.take(array, [0], axis)], axis)
            made.graph.initializer[place].CopyFrom(numpy_helper.from_array(longer, stored.name))
            yield made


@pytest.mark.slow
def test_no_report_speaks_of_the_operators_of_the_graph() -> None:
    reports, wrong = 0, []
    for operator in specified_operators():
        case = next(iter(cases(operator)))
        for proto in stretched(case.proto):
            try:
                read(proto)
            except EllcError as error:
                reports += 1
                text = error.report()
                wrong += [f"{case}: {text}" for word in text.split() if word in OURS]
    assert not wrong, "\n".join(wrong)
    assert reports > 100


@pytest.mark.parametrize(
    ("kind", "shapes", "said"),
    [
        ("LSTM", {"x": (3, 1, 5), "w": (1, 16, 5), "r": (1, 16, 4), "": (0,), "h": (1, 1, 5)},
         "'h' f32 [1, 1, 5]"),
        ("Conv", {"x": (1, 3, 8, 8), "w": (4, 2, 3, 3)}, "'w' f32 [4, 2, 3, 3]"),
        ("MatMul", {"x": (2, 3), "w": (4, 5)}, "'x' f32 [2, 3], 'w' f32 [4, 5]"),
    ],
)  # fmt: skip
def test_operands_are_named_as_the_model_has_them(
    kind: str, shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    arrays = {name: floats(*shape) for name, shape in shapes.items() if name}
    names = [*shapes] if kind != "LSTM" else ["x", "w", "r", "", "", "h"]
    attributes = {"hidden_size": 4} if kind == "LSTM" else {}
    proto = model([node(kind, names, ["y"], "it", **attributes)], {"x": arrays.pop("x")}, ["y"],
                  arrays)  # fmt: skip
    with pytest.raises(EllcError) as caught:
        read(proto)
    assert said in caught.value.problems[0]
