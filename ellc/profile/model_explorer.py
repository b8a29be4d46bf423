"""Writes a profile as node data, with which Google's Model Explorer colours the model's graph.

A file of node data for one graph has two entries. `results` maps each key to a number; `gradient`
lists the colours from the least number to the largest. A key is the name of a node or of a tensor
that the node computes. ellc names layers by the nodes of an ONNX file, and by the tensors of a
TFLite file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ellc.ir.files import write_text
from ellc.profile.figures import Profile

_GRADIENT = ((0.0, "#ffffff"), (0.25, "#ffe3b3"), (0.6, "#f7a35c"), (1.0, "#c8372d"))


def write_node_data(profile: Profile, path: Path) -> None:
    """Write node data to `path`; raises `EllcError` (E703) if the file cannot be written."""
    write_text(path, json.dumps(node_data(profile), indent=1, allow_nan=False) + "\n")


def node_data(profile: Profile) -> dict[str, Any]:
    """The cost of each layer of the model, as node data.

    If several layers were fused into one node, the first has the whole cost and the others have 0,
    so that sums are right. A layer that became several nodes has the sum of their costs.
    """
    results: dict[str, float] = {}
    for layer in profile.layers:
        for key in layer.layers:
            results.setdefault(key, 0.0)
        if layer.layers:
            results[layer.layers[0]] += layer.figures.cost
    return {
        "results": {key: {"value": value} for key, value in results.items()},
        "gradient": [{"stop": stop, "bgColor": colour} for stop, colour in _GRADIENT],
    }
