"""Sorts the nodes of an ONNX file topologically."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.onnx.model import OnnxNode
from ellc.ir.errors import EllcError


def in_order(nodes: Sequence[OnnxNode], where: str) -> list[OnnxNode]:
    """Sort the nodes so that each follows the nodes that compute its operands.

    Nodes that need not move keep the file's order. Raises `EllcError` E210 if two nodes compute the
    same value, or if a value depends on itself.
    """
    producers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.outputs:
            if name and producers.setdefault(name, index) != index:
                raise EllcError(f"two nodes compute '{name}'", code="E210", where=where)
    ordered: list[OnnxNode] = []
    done: set[int] = set()
    for first in range(len(nodes)):
        pending = [first]
        entered: set[int] = set()
        while pending:
            index = pending[-1]
            waiting = {producers[n] for n in nodes[index].inputs if n in producers} - done
            if index in done or not waiting:
                pending.pop()
                if index not in done:
                    done.add(index)
                    ordered.append(nodes[index])
            elif index in entered:
                label = nodes[index].label
                raise EllcError(f"'{label}' depends on itself", code="E210", where=where)
            else:
                entered.add(index)
                pending.extend(sorted(waiting, reverse=True))
    return ordered
