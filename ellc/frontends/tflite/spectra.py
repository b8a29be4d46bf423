"""Removes complex spectra, because a graph has no complex numbers.

The module merges each RFFT2D with the operators that read the result of the RFFT2D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ellc.frontends.tflite.if_variables import unused_name
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.versions import latest_version

READERS = ("COMPLEX_ABS", "IMAG", "REAL")
MOVERS = (
    *("EXPAND_DIMS", "GATHER", "RESHAPE", "SLICE"),
    *("SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"),
)
"""Operators that only move numbers, so they may as well move the reader's real results instead."""


def without_complex(nodes: Sequence[TfliteNode]) -> list[TfliteNode]:
    """Change every reader of an RFFT2D's result to read the operands of the RFFT2D.

    These operands are the samples and the length; the handler of the reader computes the transform
    itself. Operators that moved the spectrum before the reader then move the reader's result. The
    RFFT2D is then unused, unless an operator that is not in `READERS` reads it.
    """
    chains: dict[str, list[TfliteNode]] = {}
    names = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    new_nodes = []
    for node in nodes:
        before = chains.get(node.inputs[0]) if node.inputs else None
        if before and node.kind in READERS and len(node.results) == 1:
            new_nodes += _merged(node, before, names)
            continue
        new_nodes.append(node)
        known = 1 <= node.version <= latest_version(node.kind)
        if node.kind == "RFFT2D" and known:
            chains.update((name, [node]) for name in node.outputs)
        elif before and node.kind in MOVERS and known:
            chains.update((name, [*before, node]) for name in node.outputs)
    return new_nodes


def _merged(reader: TfliteNode, chain: Sequence[TfliteNode], names: set[str]) -> list[TfliteNode]:
    """Apply the reader to the transform's operands, and then move the reader's result.

    `chain` is the RFFT2D and the operators that move its spectrum, in order.
    """
    (wanted,) = reader.results
    merged: list[TfliteNode] = []
    for node in chain:
        step = replace(reader, operands=node.operands)
        if merged:
            step = replace(node, operands=(merged[-1].results[0], *node.operands[1:]))
        result = wanted
        if node is not chain[-1]:
            result = replace(
                node.results[0], kind=wanted.kind, name=unused_name(wanted.name, names)
            )
        merged.append(replace(step, results=(result,)))
    return merged
