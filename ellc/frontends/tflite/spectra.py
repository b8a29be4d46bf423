"""Complex spectra and what reads them: a graph has no complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.versions import latest_version

READERS = ("COMPLEX_ABS", "IMAG", "REAL")


def without_complex(nodes: Sequence[TfliteNode]) -> list[TfliteNode]:
    """The nodes with every reader of a RFFT2D reading that one's operands, samples and length.

    A transform that nobody else reads is then read by nobody.
    """
    makers = {
        name: node
        for node in nodes
        if node.kind == "RFFT2D" and 1 <= node.version <= latest_version(node.kind)
        for name in node.outputs
    }
    made = []
    for node in nodes:
        maker = makers.get(node.inputs[0]) if node.kind in READERS and node.inputs else None
        made.append(node if maker is None else replace(node, operands=maker.operands))
    return made
