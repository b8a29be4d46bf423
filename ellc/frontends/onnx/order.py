"""Nodes in an order in which every operand is made before it is read."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.onnx.model import OnnxNode
from ellc.ir.errors import EllcError


def in_order(nodes: Sequence[OnnxNode], where: str) -> list[OnnxNode]:
    """The nodes, moved only where the file has a reader before its operand.

    Raises `EllcError` E210 if two nodes make one value, or if values depend on themselves.
    """
    makers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.outputs:
            if name and makers.setdefault(name, index) != index:
                raise EllcError(f"two nodes make '{name}'", code="E210", where=where)
    placed: list[OnnxNode] = []
    done: set[int] = set()
    for first in range(len(nodes)):
        pending = [first]
        entered: set[int] = set()
        while pending:
            index = pending[-1]
            waiting = {makers[n] for n in nodes[index].inputs if n in makers} - done
            if index in done or not waiting:
                pending.pop()
                if index not in done:
                    done.add(index)
                    placed.append(nodes[index])
            elif index in entered:
                label = nodes[index].label
                raise EllcError(f"'{label}' depends on itself", code="E210", where=where)
            else:
                entered.add(index)
                pending.extend(sorted(waiting, reverse=True))
    return placed
