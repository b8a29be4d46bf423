"""Complex spectra and what reads them: a graph has no complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ellc.frontends.tflite.choices import fresh
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.versions import latest_version

READERS = ("COMPLEX_ABS", "IMAG", "REAL")
MOVERS = (
    *("EXPAND_DIMS", "GATHER", "RESHAPE", "SLICE"),
    *("SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"),
)
"""Of complex tensors: what they do to the numbers they do to each part of them."""


def without_complex(nodes: Sequence[TfliteNode]) -> list[TfliteNode]:
    """The nodes with every reader of a RFFT2D reading that one's operands, samples and length.

    Where a spectrum is moved before it is read, what was read is moved instead. A transform that
    nobody else reads is then read by nobody.
    """
    chains: dict[str, list[TfliteNode]] = {}
    names = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    made = []
    for node in nodes:
        before = chains.get(node.inputs[0]) if node.inputs else None
        if before and node.kind in READERS and len(node.results) == 1:
            made += _moved(node, before, names)
            continue
        made.append(node)
        known = 1 <= node.version <= latest_version(node.kind)
        if node.kind == "RFFT2D" and known:
            chains.update((name, [node]) for name in node.outputs)
        elif before and node.kind in MOVERS and known:
            chains.update((name, [*before, node]) for name in node.outputs)
    return made


def _moved(reader: TfliteNode, chain: Sequence[TfliteNode], names: set[str]) -> list[TfliteNode]:
    """The reader of a transform's operands, and what moves its result to the reader's own."""
    (wanted,) = reader.results
    made: list[TfliteNode] = []
    for node in chain:
        step = replace(reader, operands=node.operands)
        if made:
            step = replace(node, operands=(made[-1].results[0], *node.operands[1:]))
        result = wanted
        if node is not chain[-1]:
            result = replace(node.results[0], kind=wanted.kind, name=fresh(wanted.name, names))
        made.append(replace(step, results=(result,)))
    return made
