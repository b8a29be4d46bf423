"""Scatter operators, compared with ONNX's evaluator; updates outside of the data are ignored."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import compare, computed, floats, model, node, read

from ellc.ir.errors import EllcError


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("indices", ["computed", "known"])
def test_updates_are_applied_in_order(reduction: str, indices: str) -> None:
    """Updates of parts and of elements along an axis; one element gets more than 64 updates."""
    x, many = floats(3, 4), np.arange(70) % 3 % 2
    places = {"nd": np.array([[2, -1], [0, 1], [2, 3]]), "row": np.array([[-1], [0], [2]])}
    places |= {"e": np.array([[3, 0, 3], [-4, 1, 0]]), "many": many[:, np.newaxis]}
    updates = {
        "nd_u": floats(3, seed=1),
        "row_u": floats(3, 4, seed=2),
        "e_u": floats(2, 3, seed=3),
    }
    updates["many_u"] = 1 + floats(70, 1, seed=4) / 64
    kinds = {
        "nd": "ScatterND",
        "row": "ScatterND",
        "e": "ScatterElements",
        "many": "ScatterElements",
    }
    nodes = [
        node(kind, ["x", name, f"{name}_u"], [f"{name}_y"], reduction=reduction,
             **({"axis": 1} if name == "e" else {}))
        for name, kind in kinds.items()
    ]  # fmt: skip
    given = {"x": x, **updates, **(places if indices == "computed" else {})}
    constants = {} if indices == "computed" else places
    compare(model(nodes, given, [f"{name}_y" for name in kinds], constants), given)


def test_an_update_outside_of_the_data_is_ignored() -> None:
    """In ONNX, a coordinate outside of the data is an error; a kernel must ignore the update."""
    x, far = np.zeros((2, 3), np.float32), 2**62
    nodes = [
        node("ScatterND", ["x", "at", "u"], ["a"]),
        node("ScatterElements", ["x", "along", "v"], ["b"], axis=1, reduction="add"),
    ]
    places = {"at": np.array([[0, 3], [-3, 0], [1, -3], [far, 0], [0, -far]])}
    places["along"] = np.array([[3, -4, 2, far], [-far, 0, 0, 2**63 - 1]])
    given = {"x": x, **places, "u": np.ones(5, np.float32), "v": np.ones((2, 4), np.float32)}
    with pytest.raises(EllcError, match="E212"):
        read(model(nodes, {n: given[n] for n in "xuv"}, ["a", "b"], places))
    a, b = computed(model(nodes, given, ["a", "b"]), given)
    assert a.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert b.tolist() == [[0, 0, 1], [2, 0, 0]]


@pytest.mark.parametrize("kind", ["ScatterND", "ScatterElements"])
def test_sums_and_products_of_booleans(kind: str) -> None:
    """Their reductions are `or` and `and`, as in ONNX Runtime; ONNX does not define them."""
    x, u = np.array([True, False, True, False]), np.array([True, False])
    for indices, known in (("i", False), ("k", True)):
        places = np.array([1, 2]) if kind == "ScatterElements" else np.array([[1], [2]])
        nodes = [
            node(kind, ["x", indices, "u"], [reduction], reduction=reduction)
            for reduction in ("add", "mul")
        ]
        given = {"x": x, "u": u, **({} if known else {"i": places})}
        proto = model(nodes, given, ["add", "mul"], {"k": places} if known else {})
        added, multiplied = computed(proto, given)
        assert added.tolist() == [True, True, True, False]
        assert multiplied.tolist() == [True, False, False, False]
